/* First bytes and what they mean: see sniff.h. Rows of fixed bytes first, then forms that take a look at what follows. */
#include "nodes/lib/sniff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/plain.h"
#include "nodes/lib/safetensors.h"

typedef struct head { const uint8_t *b; size_t n; uint64_t size; } head;
typedef struct magic { size_t at, n; const char *bytes; kg_form form; const char *what, *hint; } magic;

#define TO_SAFETENSORS "weights are read from safetensors files in f32, f16 or bf16"
#define TO_PNG "pictures are read from PNG files: convert it first"

/* Longer marks stand before shorter ones that they contain. */
static const magic marks[] = { /* table */
    {0, 8, "\x89PNG\r\n\x1a\n", KG_FORM_PNG, "a PNG picture", NULL},
    {0, 3, "\xff\xd8\xff", KG_FORM_OTHER, "a JPEG picture", TO_PNG},
    {8, 4, "WEBP", KG_FORM_OTHER, "a WebP picture", TO_PNG},
    {0, 4, "GIF8", KG_FORM_OTHER, "a GIF picture", TO_PNG},
    {0, 4, "II*\0", KG_FORM_OTHER, "a TIFF picture", TO_PNG},
    {0, 4, "MM\0*", KG_FORM_OTHER, "a TIFF picture", TO_PNG},
    {4, 8, "ftypavif", KG_FORM_OTHER, "an AVIF picture", TO_PNG},
    {4, 8, "ftypavis", KG_FORM_OTHER, "an AVIF picture", TO_PNG},
    {4, 8, "ftypheic", KG_FORM_OTHER, "a HEIC picture", TO_PNG},
    {4, 8, "ftypmif1", KG_FORM_OTHER, "a HEIF picture", TO_PNG},
    {4, 8, "ftypqt  ", KG_FORM_VIDEO, "a QuickTime movie", NULL},
    {4, 4, "ftyp", KG_FORM_VIDEO, "an MP4 file", NULL},
    {8, 4, "AVI ", KG_FORM_VIDEO, "an AVI file", NULL},
    {8, 4, "WAVE", KG_FORM_OTHER, "a WAV sound file", NULL},
    {0, 4, "OggS", KG_FORM_OTHER, "an Ogg file", NULL},
    {0, 4, "fLaC", KG_FORM_OTHER, "a FLAC sound file", NULL},
    {0, 3, "ID3", KG_FORM_OTHER, "an MP3 sound file", NULL},
    {0, 14, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", KG_FORM_OTHER, "a PyTorch file of the old form (pickles in a row)",
     TO_SAFETENSORS},
    {0, 4, "\x1bLJ\x02", KG_FORM_OTHER, "LuaJIT bytecode", "scripts are read as text"},
    {0, 16, "SQLite format 3\0", KG_FORM_OTHER, "an SQLite database", NULL},
    {0, 6, "\x93NUMPY", KG_FORM_OTHER, "a NumPy array", TO_SAFETENSORS},
    {0, 8, "\x89HDF\r\n\x1a\n", KG_FORM_OTHER, "an HDF5 file", TO_SAFETENSORS},
    {0, 2, "\x1f\x8b", KG_FORM_OTHER, "a gzip archive", "unpack it first"},
    {0, 6, "7z\xbc\xaf\x27\x1c", KG_FORM_OTHER, "a 7-Zip archive", "unpack it first"},
    {0, 6, "\xfd" "7zXZ\0", KG_FORM_OTHER, "an xz archive", "unpack it first"},
    {0, 4, "\x28\xb5\x2f\xfd", KG_FORM_OTHER, "a Zstandard archive", "unpack it first"},
    {0, 4, "Rar!", KG_FORM_OTHER, "a RAR archive", "unpack it first"},
    {257, 5, "ustar", KG_FORM_OTHER, "a tar archive", "unpack it first"},
    {0, 4, "\x7f" "ELF", KG_FORM_OTHER, "a program", NULL},
    {0, 5, "%PDF-", KG_FORM_OTHER, "a PDF document", NULL},
};

static int begins(const head *h, size_t at, const char *bytes, size_t n)
{
    return h->n >= n && at <= h->n - n && !memcmp(h->b + at, bytes, n);
}

static uint64_t little(const uint8_t *b, int n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | b[n];
    return v;
}

static int say(kg_sniffed *out, kg_form form, const char *what, const char *hint)
{
    *out = (kg_sniffed){.form = form, .hint = hint};
    snprintf(out->what, sizeof out->what, "%s", what);
    return 1;
}

static void size_text(char *out, size_t n, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    int u = 0;
    for (; v >= 1024 && u < 4; ++u)
        v /= 1024;
    snprintf(out, n, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

/* ---- containers of weights ---- */
static int is_weights(const head *h, kg_sniffed *out)
{
    uint64_t length = h->n >= 10 ? little(h->b, 8) : 0;
    if (length >= 2 && length <= KG_SAFETENSORS_HEADER_MAX && h->b[8] == '{')
        return say(out, KG_FORM_SAFETENSORS, "a safetensors file", NULL);
    if (begins(h, 0, "GGUF", 4) && h->n >= 8) {
        uint32_t version = (uint32_t)little(h->b + 4, 4);
        say(out, KG_FORM_OTHER, "", TO_SAFETENSORS);
        if (version & 0xffff)
            snprintf(out->what, sizeof out->what, "a GGUF file (version %" PRIu32 ")", version);
        else
            snprintf(out->what, sizeof out->what, "a GGUF file for big-endian machines");
        return 1;
    }
    return 0;
}

/* torch.save writes data.pkl first, into a folder named after the file. ref: pytorch torch/serialization.py */
static int is_zip(const head *h, kg_sniffed *out)
{
    if (!begins(h, 0, "PK\3\4", 4) || h->n < 30)
        return 0;
    size_t n = (size_t)little(h->b + 26, 2);
    if (n > 8 && n <= h->n - 30 && !memcmp(h->b + 30 + n - 8, "data.pkl", 8))
        return say(out, KG_FORM_OTHER, "a PyTorch file (a zip with a pickle in it)", TO_SAFETENSORS "; kino runs no pickle");
    return say(out, KG_FORM_OTHER, "a ZIP archive", "unpack it first");
}

/* PROTO 2 to 5, then an opcode that a dump may begin with. */
static int is_pickle(const head *h, kg_sniffed *out)
{
    if (h->n < 3 || h->b[0] != 0x80 || h->b[1] < 2 || h->b[1] > 5 || !strchr("}](cX\x8a\x8c\x95", h->b[2]) || !h->b[2])
        return 0;
    return say(out, KG_FORM_OTHER, "a Python pickle", TO_SAFETENSORS "; kino runs no pickle");
}

/* A protobuf whose first field is a piece that begins with its own text: "<pad>", "<unk>". */
static int is_tokenizer(const head *h, kg_sniffed *out)
{
    if (h->n < 8 || h->b[0] != 0x0a || h->b[2] != 0x0a || h->b[1] < 5 || h->b[3] < 3 || h->b[3] + 2 > h->b[1] || h->b[4] != '<')
        return 0;
    return say(out, KG_FORM_TOKENIZER, "a SentencePiece model (a tokenizer)", NULL);
}

/* ref: the ONNX protobuf: ir_version (field 1), producer_name (field 2). */
static int is_onnx(const head *h, kg_sniffed *out)
{
    if (h->n < 16 || h->b[0] != 0x08 || h->b[1] > 32 || !begins(h, 2, "\x12\x07pytorch", 9))
        return 0;
    return say(out, KG_FORM_OTHER, "an ONNX model", TO_SAFETENSORS);
}

/* ---- containers of video without a mark at one place ---- */
static int is_stream(const head *h, kg_sniffed *out)
{
    if (begins(h, 0, "\x1a\x45\xdf\xa3", 4))
        return say(out, KG_FORM_VIDEO, memmem(h->b, h->n < 64 ? h->n : 64, "webm", 4) ? "a WebM file" : "a Matroska file", NULL);
    if (h->n > 376 && h->b[0] == 0x47 && h->b[188] == 0x47 && h->b[376] == 0x47)
        return say(out, KG_FORM_VIDEO, "an MPEG transport stream", NULL);
    return 0;
}

/* ---- texts ---- */
static size_t skip_space(const head *h)
{
    size_t at = begins(h, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < h->n && memchr(" \t\r\n", h->b[at], 4))
        ++at;
    return at;
}

/* Anything that may stand in a text: no control characters, and UTF-8 that at most the end of the head cuts. */
static int is_plain(const head *h)
{
    for (size_t i = 0, more; i < h->n; i += more + 1) {
        uint8_t c = h->b[i];
        more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : SIZE_MAX;
        if (more == SIZE_MAX || c == 127 || (c < 32 && !memchr("\t\r\n\f", c, 4)))
            return 0;
        for (size_t k = 1; k <= more && i + k < h->n; ++k)
            if ((h->b[i + k] & 0xc0) != 0x80)
                return 0;
    }
    return h->n > 0;
}

static int is_pointer(const head *h, kg_sniffed *out)
{
    static const char mark[] = "version https://git-lfs.github.com/";
    char size[32] = "";
    if (!begins(h, 0, mark, sizeof mark - 1))
        return 0;
    say(out, KG_FORM_OTHER, "a Git LFS pointer", "git lfs pull fetches the file itself");
    const uint8_t *at = memmem(h->b, h->n, "\nsize ", 6);
    uint64_t bytes = 0;
    for (size_t i = at ? (size_t)(at - h->b) + 6 : h->n; i < h->n && h->b[i] >= '0' && h->b[i] <= '9' && bytes < UINT64_MAX / 20; ++i)
        bytes = 10 * bytes + h->b[i] - '0';
    size_text(size, sizeof size, bytes);
    if (bytes)
        snprintf(out->what, sizeof out->what, "a Git LFS pointer to a file of %s (not the file itself)", size);
    return 1;
}

static int word_at(const head *h, size_t at, const char *word)
{
    size_t n = strlen(word);
    return h->n >= n && at <= h->n - n && !strncasecmp((const char *)h->b + at, word, n);
}

static int is_page(const head *h, size_t at, kg_sniffed *out)
{
    if (word_at(h, at, "<!doctype html") || word_at(h, at, "<html") || word_at(h, at, "<head"))
        return say(out, KG_FORM_OTHER, "an HTML page (a download that brought a web page)",
                   "download the file itself; on Hugging Face its address has /resolve/, not /blob/");
    if (word_at(h, at, "<?xml") || word_at(h, at, "<error>"))
        return say(out, KG_FORM_OTHER,
                   memmem(h->b, h->n, "<Error>", 7) ? "an XML answer of a server (a failed download)" : "an XML file", NULL);
    return 0;
}

static int is_json(const head *h, size_t at, kg_sniffed *out)
{
    if (at >= h->n || (h->b[at] != '{' && h->b[at] != '['))
        return 0;
    size_t next = at + 1;
    while (next < h->n && memchr(" \t\r\n", h->b[next], 4))
        ++next;
    if (next < h->n && (h->b[at] == '{' ? h->b[next] == '"' || h->b[next] == '}' : memchr("[{\"]-0123456789tfn", h->b[next], 17) != NULL))
        return say(out, KG_FORM_JSON, "a JSON file", NULL);
    return 0;
}

/* The first line, as far as it is short. */
static int is_text(const head *h, size_t at, kg_sniffed *out)
{
    int n = 0;
    while (at + (size_t)n < h->n && n < 60 && h->b[at + (size_t)n] >= 32)
        ++n;
    while (n && at + (size_t)n < h->n && (h->b[at + (size_t)n] & 0xc0) == 0x80)
        --n;                                           /* no cut characters */
    say(out, KG_FORM_TEXT, "a text", NULL);
    if (n)
        snprintf(out->what, sizeof out->what, "a text that begins \"%.*s\"", n, (const char *)h->b + at);
    kg_plain(out->what);
    return 1;
}

static int is_script(const head *h, size_t at, kg_sniffed *out)
{
    static const char *const starts[] = {"--", "local ", "return ", "return{", "function ", "for ", "if "};
    int good = 0;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; ++i)
        good |= begins(h, at, starts[i], strlen(starts[i]));
    if (good && memmem(h->b, h->n, "kino.", 5))
        return say(out, KG_FORM_SCRIPT, "a Lua script for kino", NULL);
    return begins(h, 0, "#!", 2) && say(out, KG_FORM_TEXT, "a script for another program", NULL);
}

void kg_sniff(const uint8_t *bytes, size_t n, uint64_t size, kg_sniffed *out)
{
    const head h = {bytes, n, size};
    say(out, KG_FORM_UNKNOWN, "a file of no form that is known here", NULL);
    if (!size) {
        say(out, KG_FORM_OTHER, "empty", NULL);
        return;
    }
    if (is_weights(&h, out) || is_zip(&h, out))
        return;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; ++i)
        if (begins(&h, marks[i].at, marks[i].bytes, marks[i].n)) {
            say(out, marks[i].form, marks[i].what, marks[i].hint);
            return;
        }
    if (is_pickle(&h, out) || is_tokenizer(&h, out) || is_onnx(&h, out) || is_stream(&h, out))
        return;
    size_t at = skip_space(&h), zeros = 0;
    if (is_plain(&h)) {
        if (!is_pointer(&h, out) && !is_page(&h, at, out) && !is_json(&h, at, out) && !is_script(&h, at, out))
            is_text(&h, at, out);
        return;
    }
    while (zeros < n && !bytes[zeros])
        ++zeros;
    if (zeros == n && n >= 64)
        say(out, KG_FORM_OTHER, "nothing but zeros at its beginning (a download that was not finished?)", NULL);
}

kg_status kg_sniff_file(const kg_file *f, kg_sniffed *out)
{
    uint8_t head[KG_SNIFF_BYTES];
    size_t n = f->size < sizeof head ? (size_t)f->size : sizeof head;
    kg_status s = kg_file_read(f, 0, head, n);
    if (s == KG_OK)
        kg_sniff(head, n, f->size, out);
    return s;
}

kg_status kg_sniff_want(const kg_file *f, kg_form form, const char *wanted)
{
    kg_sniffed s;
    if (kg_sniff_file(f, &s) != KG_OK)
        return kg_error_last()->status;
    if (s.form == form || s.form == KG_FORM_UNKNOWN)
        return KG_OK;
    kg_fail(KG_INPUT, "'%s' is %s, and no %s", f->path, s.what, wanted);
    if (s.hint)
        kg_hint("%s", s.hint);
    return KG_INPUT;
}
