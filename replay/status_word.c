#include "replay/status_word.h"

#include <ctype.h>
#include <string.h>

#include "format/error.h"

enum { STATUS_WORD_BYTES = 12 };

static const struct status_row {
    int status;
    char name[STATUS_WORD_BYTES];
} rows[] = {
#define STATUS_ROW(name, number, exit_code, meaning) {number, #name},
    TAPE_STATUS_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

const char *tape_status_word(int status)
{
    static _Thread_local char word[STATUS_WORD_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].status != status)
            continue;
        for (size_t at = 0; at < sizeof word; at++)
            word[at] = (char)tolower((unsigned char)rows[i].name[at]);
        return word;
    }
    return "unknown";
}
