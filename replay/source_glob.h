/* Stream name patterns: "*" any run, "?" any byte, "[a-z]" "[!a]" sets, "," between alternatives.
 */
#ifndef TAPE_REPLAY_SOURCE_GLOB_H
#define TAPE_REPLAY_SOURCE_GLOB_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_source_glob_match(patterns, name, bytes): 1 when one of the comma-separated patterns matches
 * all of name. Takes time of at most pattern length times name length; never recurses. A "[" that
 * is not closed stands for itself. */
int tape_source_glob_match(const char *patterns, const char *name, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
