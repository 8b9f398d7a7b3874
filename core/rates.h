/* What runs took beside what was planned for them, so that later estimates are nearer.
 *
 * Seconds alone are made of this: which weights stay, which knobs are turned and which form is chosen is decided from the profile's
 * built-in rates, so that two machines of one kind, or one machine before and after its first run, make the same plan. */
#ifndef KG_CORE_RATES_H
#define KG_CORE_RATES_H

#include "core/error.h"

#define KG_RATE_CELLS 128
typedef struct kg_rate_cell {
    char what[112];                /* "cpu wan.sample": class of the device, types of the unit's nodes          */
    int size;                      /* power of ten of the seconds that one of its kernels is planned with       */
    double planned, taken;         /* seconds; newer runs weigh more                                            */
} kg_rate_cell;
typedef struct kg_rate_load { double bytes, seconds; } kg_rate_load;
typedef struct kg_rates {
    int n;
    kg_rate_cell cell[KG_RATE_CELLS];
    kg_rate_load cold, warm;       /* files read from the disk, and from the system's page cache                */
} kg_rates;

/* One unit was planned with so many seconds in so many kernels by built-in rates, and took so many without waiting for loads. */
void kg_rates_note(kg_rates *r, const char *what, double planned, int64_t kernels, double taken);
/* What planned seconds are to be multiplied with: of the same units with kernels of the nearest size, else of all; 1 when nothing
 * is known. r may be NULL. */
double kg_rates_factor(const kg_rates *r, const char *what, double planned, int64_t kernels);
void kg_rates_note_load(kg_rate_load *l, double bytes, double seconds);
double kg_rates_load_rate(const kg_rate_load *l, double otherwise);      /* bytes/s                                        */

/* {"version": 1, "units": [{"what", "size", "planned", "taken"}...], "cold": [bytes, seconds], "warm": [bytes, seconds]}.
 * KG_INPUT when the text is not of this form; *r is empty then. */
kg_status kg_rates_read(kg_rates *r, const char *json);
char *kg_rates_text(const kg_rates *r);        /* malloc; NULL: out of host memory                                         */

#endif
