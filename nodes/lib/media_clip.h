/* Videos in files, read by libav: frames come out one by one, in the order in which they are shown, as 8-bit RGB.
 *
 * A file is a stranger's. It is read through our own open file and nothing else is opened because of it (playlists, references to
 * other files); containers and codecs are those of a short list. Everything that a plan needs (size, number of frames, rate, what
 * the decoder takes) is known from the container, before a frame is decoded. */
#ifndef KG_NODES_LIB_MEDIA_CLIP_H
#define KG_NODES_LIB_MEDIA_CLIP_H

#include "core/file.h"

typedef struct kg_clip kg_clip;
typedef struct kg_clip_facts {
    int64_t width, height;
    int64_t frames;                /* as the container counts them                                   */
    double rate;                   /* frames a second, on average; 0: not said                       */
    size_t bytes;                  /* host memory that a reader holds at most, beside a frame        */
    char warning[192];             /* of what is not done with it; "": nothing                       */
} kg_clip_facts;

/* KG_INPUT with a message that names the file: no video, another codec, a size beyond KG_SIDE_MAX. */
kg_status kg_clip_look(const kg_file *f, kg_clip_facts *facts);
kg_clip *kg_clip_open(const kg_file *f);
/* The next frame into rgb [height, width, 3], dense; rgb NULL: it is passed over. KG_INPUT when there is none, or of another size. */
kg_status kg_clip_next(kg_clip *c, int64_t width, int64_t height, uint8_t *rgb);
void kg_clip_free(kg_clip *c);

/* What a container holds, for people; nothing is decoded. Texts are libav's own. */
typedef struct kg_clip_stream {
    const char *type, *codec;      /* "video", "h264"                                                */
    int64_t width, height;         /* of video                                                       */
    int64_t frames;                /* as the container says; 0: it does not                          */
    double rate;                   /* frames a second; of sound, samples                             */
} kg_clip_stream;
kg_status kg_clip_streams(const kg_file *f, kg_clip_stream *streams, int most, int *n);

#endif
