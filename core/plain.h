/* Text from outside (a script, a file, a prompt) on its way to a terminal, a log or JSON: all of it goes through here, so that none
 * of it moves a cursor, starts a line of its own, turns the order of the letters around, or is no UTF-8. */
#ifndef KG_CORE_PLAIN_H
#define KG_CORE_PLAIN_H

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the character at s, at least 1. *bad: it must not be shown, being a control character (a tab is none), one that steers
 * the direction or ends a line (U+2028 to U+202E, U+2066 to U+2069), or no UTF-8. */
int kg_plain_next(const char *s, int *bad);
int kg_plain_is(const char *s);    /* 1 when nothing in it is bad                                          */
void kg_plain(char *s);            /* in place: each bad byte becomes '?'                                  */

#ifdef __cplusplus
}
#endif

#endif
