/* Pictures in files: PNG in and out, and the layout of contact sheets.
 *
 * A picture in memory is [height, width, 3] bytes of RGB, dense. A file's size is known from its header alone, so that a graph
 * can be planned before a pixel is decoded. Every length in a file is a claim until it has been checked. */
#ifndef KG_NODES_LIB_MEDIA_H
#define KG_NODES_LIB_MEDIA_H

#include "core/file.h"
#include "core/node.h"

/* The most pixels a side of a picture has: 16384 x 16384 in RGB are 768 MiB. */
enum { KG_SIDE_MAX = 16384 };

/* What shows through where a picture is transparent. DROP is what PIL's convert("RGB") does: the colour that the transparent
 * pixel has in the file, whatever it is. */
enum { KG_ALPHA_BLACK, KG_ALPHA_WHITE, KG_ALPHA_DROP };

kg_status kg_png_size(const kg_file *f, int64_t *width, int64_t *height);
/* All PNG types: grey, palette and 16 bit become RGB of 8 bit. The size must be what kg_png_size has said. */
kg_status kg_png_read(const kg_file *f, int64_t width, int64_t height, int alpha, uint8_t *rgb);
/* provenance: JSON for the text chunk "kinograph"; NULL or "" writes none. */
kg_status kg_png_write(kg_output *o, int64_t width, int64_t height, const uint8_t *rgb, const char *provenance);
/* Host memory that this takes beside the pixels. */
size_t kg_png_read_bytes(int64_t width, int64_t height);
size_t kg_png_write_bytes(int64_t width);

/* A file that infer has looked at, to be opened again by the work: the same one, or an error. */
typedef struct kg_seen { kg_files *files; kg_stamp stamp; } kg_seen;
void kg_seen_note(kg_seen *s, kg_files *files, const kg_file *f);
kg_file *kg_seen_open(const kg_seen *s, const char *path);

/* The place in `ends` (".mp4|.m4v") of what a name ends in, in any case. -1 with an error that says how `what` is written: a file of
 * one format under the name of another helps nobody. */
int kg_name_end(const char *path, const char *what, const char *ends);

/* Frames [height, width, 3] of u8, at least 2x2: what every node of this kind asks of its input. */
kg_status kg_frames_check(const char *port, const kg_desc *d);

/* Copies between tensors of equal shape, rank 2, whose rows may have a stride. For host work only. */
void kg_copy_rows(const kg_tensor *out, const kg_tensor *in);
/* The rectangle at (x, y) of a dense picture as [height, width * 3]. */
kg_tensor kg_picture_part(kg_tensor picture, int64_t x, int64_t y, int64_t width, int64_t height);

#endif
