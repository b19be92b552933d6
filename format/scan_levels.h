/* Steps over a list of price levels 64 bytes at a time. Private to the tick decoder. */
#ifndef TAPE_FORMAT_SCAN_LEVELS_H
#define TAPE_FORMAT_SCAN_LEVELS_H

#ifdef __cplusplus
extern "C" {
#endif

/* tape_scan_levels(begin, at, end): behind the list at ${at} of arrays of plain strings, without
 * white space, as venues write the levels of a book: [["p","q"],["p","q"]]. NULL: it is not of that
 * form, or empty; then nothing is known of it. Bytes from ${begin} on may be loaded. */
const char *tape_scan_levels(const char *begin, const char *at, const char *end);

#ifdef __cplusplus
}
#endif
#endif
