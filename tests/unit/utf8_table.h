/* Texts and where they stop being UTF-8, after the classes of Kuhn's stress test. */
#ifndef TAPE_TESTS_UNIT_UTF8_TABLE_H
#define TAPE_TESTS_UNIT_UTF8_TABLE_H

#include <stddef.h>

enum { UTF8_OK = -1, UTF8_CUT = -2 };

/* fail: offset of the first byte that no valid text has there; UTF8_OK: a whole text; UTF8_CUT: the
 * beginning of one. */
struct utf8_case {
    const char *what;
    const char *text; /* without its NUL unless `bytes` says so */
    int fail;
    size_t bytes; /* 0: strlen */
};

static const struct utf8_case utf8_table[] = {
    {"empty", "", UTF8_OK, 0},
    {"ASCII", "Hello-market", UTF8_OK, 0},
    {"Greek", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", UTF8_OK, 0},
    {"mixed", "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", UTF8_OK,
     0},
    {"Greek, then a surrogate, then ASCII",
     "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"
     "edited",
     12, 0},
    /* prefixes of a text: cut inside a code point or not */
    {"cut after 1 of 2", "\xce", UTF8_CUT, 0},
    {"cut after 1 of 3", "\xce\xba\xe1", UTF8_CUT, 0},
    {"cut after 2 of 3", "\xce\xba\xe1\xbd", UTF8_CUT, 0},
    {"not cut", "\xce\xba\xe1\xbd\xb9", UTF8_OK, 0},
    /* first of each length, five and six bytes included */
    {"U+0000", "\0", UTF8_OK, 1},
    {"U+0080", "\xc2\x80", UTF8_OK, 0},
    {"U+0800", "\xe0\xa0\x80", UTF8_OK, 0},
    {"U+10000", "\xf0\x90\x80\x80", UTF8_OK, 0},
    {"first of five bytes", "\xf8\x88\x80\x80\x80", 0, 0},
    {"first of six bytes", "\xfc\x84\x80\x80\x80\x80", 0, 0},
    /* last of each length */
    {"U+007F", "\x7f", UTF8_OK, 0},
    {"U+07FF", "\xdf\xbf", UTF8_OK, 0},
    {"U+FFFF", "\xef\xbf\xbf", UTF8_OK, 0},
    {"U+10FFFF", "\xf4\x8f\xbf\xbf", UTF8_OK, 0},
    {"last of four bytes", "\xf7\xbf\xbf\xbf", 0, 0},
    {"last of five bytes", "\xfb\xbf\xbf\xbf\xbf", 0, 0},
    {"last of six bytes", "\xfd\xbf\xbf\xbf\xbf\xbf", 0, 0},
    /* other edges */
    {"U+D7FF", "\xed\x9f\xbf", UTF8_OK, 0},
    {"U+E000", "\xee\x80\x80", UTF8_OK, 0},
    {"U+FFFD", "\xef\xbf\xbd", UTF8_OK, 0},
    {"U+110000", "\xf4\x90\x80\x80", 1, 0},
    {"U+140000", "\xf5\x80\x80\x80", 0, 0},
    /* lone continuations */
    {"lone 80", "\x80", 0, 0},
    {"lone bf", "\xbf", 0, 0},
    {"two lone", "\x80\xbf", 0, 0},
    {"seven lone", "\x80\xbf\x80\xbf\x80\xbf\x80", 0, 0},
    {"lone after a text", "abc\x80", 3, 0},
    {"one too many after 2", "\xc2\x80\x80", 2, 0},
    {"one too many after 4", "\xf0\x90\x80\x80\x80", 4, 0},
    /* lone leads, each with a space after it */
    {"lone c0", "\xc0 ", 0, 0},
    {"lone c1", "\xc1 ", 0, 0},
    {"lone c2", "\xc2 ", 1, 0},
    {"lone df", "\xdf ", 1, 0},
    {"lone e0", "\xe0 ", 1, 0},
    {"lone ef", "\xef ", 1, 0},
    {"lone f0", "\xf0 ", 1, 0},
    {"lone f4", "\xf4 ", 1, 0},
    {"lone f5", "\xf5 ", 0, 0},
    {"lone f8", "\xf8 ", 0, 0},
    {"lone fc", "\xfc ", 0, 0},
    /* the last byte missing: at the end, and before a space */
    {"2 without its last", "\xdf", UTF8_CUT, 0},
    {"3 without its last", "\xef\xbf", UTF8_CUT, 0},
    {"4 without its last", "\xf4\x8f\xbf", UTF8_CUT, 0},
    {"e0 a0 cut", "\xe0\xa0", UTF8_CUT, 0},
    {"f0 90 80 cut", "\xf0\x90\x80", UTF8_CUT, 0},
    {"3 broken off", "\xef\xbf ", 2, 0},
    {"4 broken off", "\xf4\x8f\xbf ", 3, 0},
    {"two broken off", "\xef\xbf\xdf\xbf", 2, 0},
    /* bytes that never are */
    {"fe", "\xfe", 0, 0},
    {"ff", "\xff", 0, 0},
    {"fe fe ff ff", "\xfe\xfe\xff\xff", 0, 0},
    /* overlong */
    {"slash in 2", "\xc0\xaf", 0, 0},
    {"slash in 3", "\xe0\x80\xaf", 1, 0},
    {"slash in 4", "\xf0\x80\x80\xaf", 1, 0},
    {"slash in 5", "\xf8\x80\x80\x80\xaf", 0, 0},
    {"slash in 6", "\xfc\x80\x80\x80\x80\xaf", 0, 0},
    {"U+007F in 2", "\xc1\xbf", 0, 0},
    {"U+07FF in 3", "\xe0\x9f\xbf", 1, 0},
    {"U+FFFF in 4", "\xf0\x8f\xbf\xbf", 1, 0},
    {"U+1FFFFF in 5", "\xf8\x87\xbf\xbf\xbf", 0, 0},
    {"NUL in 2", "\xc0\x80", 0, 0},
    {"NUL in 3", "\xe0\x80\x80", 1, 0},
    {"NUL in 4", "\xf0\x80\x80\x80", 1, 0},
    {"NUL in 5", "\xf8\x80\x80\x80\x80", 0, 0},
    {"NUL in 6", "\xfc\x80\x80\x80\x80\x80", 0, 0},
    /* surrogates, alone and in pairs */
    {"U+D800", "\xed\xa0\x80", 1, 0},
    {"U+DB7F", "\xed\xad\xbf", 1, 0},
    {"U+DB80", "\xed\xae\x80", 1, 0},
    {"U+DBFF", "\xed\xaf\xbf", 1, 0},
    {"U+DC00", "\xed\xb0\x80", 1, 0},
    {"U+DF80", "\xed\xbe\x80", 1, 0},
    {"U+DFFF", "\xed\xbf\xbf", 1, 0},
    {"U+D800 U+DC00", "\xed\xa0\x80\xed\xb0\x80", 1, 0},
    {"U+DBFF U+DFFF", "\xed\xaf\xbf\xed\xbf\xbf", 1, 0},
    /* noncharacters are characters to UTF-8 */
    {"U+FFFE", "\xef\xbf\xbe", UTF8_OK, 0},
    {"U+FDD0", "\xef\xb7\x90", UTF8_OK, 0},
    {"U+1FFFE", "\xf0\x9f\xbf\xbe", UTF8_OK, 0},
    {"U+1FFFF", "\xf0\x9f\xbf\xbf", UTF8_OK, 0},
    {"U+7FFFF", "\xf1\xbf\xbf\xbf", UTF8_OK, 0},
    {"U+BFFFE", "\xf2\xbf\xbf\xbe", UTF8_OK, 0},
    {"U+FFFFE", "\xf3\xbf\xbf\xbe", UTF8_OK, 0},
    {"U+10FFFE", "\xf4\x8f\xbf\xbe", UTF8_OK, 0},
};

enum { UTF8_CASES = sizeof utf8_table / sizeof *utf8_table };

#endif
