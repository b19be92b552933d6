#include "format/distance.h"

#include <string.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

int tape_distance_words(const char *one, const char *other)
{
    int row[TAPE_DISTANCE_MAX_BYTES + 1];
    size_t length = strlen(other);
    if (length > TAPE_DISTANCE_MAX_BYTES || strlen(one) > TAPE_DISTANCE_MAX_BYTES)
        return TAPE_DISTANCE_MAX_BYTES;
    for (size_t i = 0; i <= length; i++)
        row[i] = (int)i;
    for (; *one; one++) {
        int diagonal = row[0]++;
        for (size_t i = 1; i <= length; i++) {
            int exchanged = diagonal + (lower(*one) != lower(other[i - 1]));
            int less = (row[i] < row[i - 1] ? row[i] : row[i - 1]) + 1;
            diagonal = row[i];
            row[i] = exchanged < less ? exchanged : less;
        }
    }
    return row[length];
}
