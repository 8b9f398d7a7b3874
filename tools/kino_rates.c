/* What runs took on each kind of device, kept beside the cache's default place: rates-NAME.json. It corrects the seconds that later
 * runs are said to take and nothing else, so that a folder that cannot be written and a file that cannot be read cost an estimate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kino_cli.h"

static int path_of(const kg_device *d, char *out, size_t n)
{
    char name[96];
    kino_device_name("rates", d, name, sizeof name);
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int used = base && *base ? snprintf(out, n, "%s/kinograph/%s.json", base, name)
                             : snprintf(out, n, "%s/.cache/kinograph/%s.json", home ? home : "", name);
    return used > 0 && (size_t)used < n && ((base && *base) || (home && *home));
}

void kino_rates_read(kg_rates *r, const kg_device *d)
{
    char path[4096];
    memset(r, 0, sizeof *r);
    char *text = path_of(d, path, sizeof path) && !access(path, R_OK) ? kino_file_text(path) : NULL;
    if (text)
        kg_rates_read(r, text);
    free(text);
    kg_error_clear();
}

void kino_rates_write(const kg_rates *r, const kg_device *d)
{
    char path[4096], part[4200];
    char *text = kg_rates_text(r);
    if (text && path_of(d, path, sizeof path) && kino_folder_of(path) == KG_OK) {
        snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
        FILE *f = fopen(part, "w");
        int bad = !f || fputs(text, f) < 0;
        bad |= f && fclose(f);
        if (bad || rename(part, path))
            unlink(part);
    }
    free(text);
    kg_error_clear();
}
