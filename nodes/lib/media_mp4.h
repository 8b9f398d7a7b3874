/* H.264 in MP4 by libav: frames go in one by one, a complete file comes out at the end.
 *
 * The same frames and settings give the same bytes on every run: no dates, no library versions in the container, a fixed number of
 * x264 threads. Colours are BT.709, limited range, and the file says so. The index is at the front (faststart). */
#ifndef KG_NODES_LIB_MEDIA_MP4_H
#define KG_NODES_LIB_MEDIA_MP4_H

#include "core/file.h"

typedef struct kg_mp4 kg_mp4;
typedef struct kg_mp4_settings {
    int64_t width, height;         /* of the frames; an odd last column or row is left out (4:2:0 has none) */
    double fps;
    int crf;                       /* 1 (nearly lossless) to 51                                             */
    const char *preset;            /* x264's                                                                */
    const char *provenance;        /* for the comment tag; "" for none                                      */
} kg_mp4_settings;

/* Opens a temporary file beside path. Freeing an unfinished one removes it. */
kg_mp4 *kg_mp4_new(kg_files *files, const char *path, const kg_mp4_settings *s);
kg_status kg_mp4_frame(kg_mp4 *m, const uint8_t *rgb);             /* [height, width, 3], dense */
kg_status kg_mp4_finish(kg_mp4 *m);                                /* now the file is there     */
void kg_mp4_free(kg_mp4 *m);
/* Host memory that an encoder of so many frames holds at most. */
size_t kg_mp4_bytes(int64_t width, int64_t height, int64_t frames, int preset);

#define KG_MP4_ENDS ".mp4"
#define KG_MP4_PRESETS "ultrafast|superfast|veryfast|faster|fast|medium|slow|slower|veryslow"
enum { KG_MP4_MEDIUM = 5 };

#endif
