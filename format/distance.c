#include "format/distance.h"

#include <string.h>

enum { PREFIX_MIN_BYTES = 2 };

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static int least(int one, int other)
{
    return one < other ? one : other;
}

int tape_distance_words(const char *one, const char *other)
{
    /* Of the letters of one: before the last two, before the last, up to the last. */
    int rows[3][TAPE_DISTANCE_MAX_BYTES + 1];
    int *older = rows[0], *old = rows[1], *row = rows[2];
    size_t length = strlen(other), letters = strlen(one);
    if (length > TAPE_DISTANCE_MAX_BYTES || letters > TAPE_DISTANCE_MAX_BYTES)
        return TAPE_DISTANCE_MAX_BYTES;
    for (size_t i = 0; i <= length; i++)
        row[i] = (int)i;
    for (size_t at = 1; at <= letters; at++) {
        int *oldest = older;
        older = old;
        old = row;
        row = oldest;
        row[0] = (int)at;
        for (size_t i = 1; i <= length; i++) {
            unsigned char letter = lower(one[at - 1]), against = lower(other[i - 1]);
            row[i] = least(old[i - 1] + (letter != against), least(old[i], row[i - 1]) + 1);
            if (at > 1 && i > 1 && letter == lower(other[i - 2]) && lower(one[at - 2]) == against)
                row[i] = least(row[i], older[i - 2] + 1);
        }
    }
    return row[length];
}

int tape_distance_close(const char *word, int distance)
{
    return distance >= 0 && (size_t)distance <= 1 + strlen(word) / 5;
}

static int begins_with(const char *word, const char *typed)
{
    size_t i = 0;
    while (typed[i] && lower(typed[i]) == lower(word[i]))
        i++;
    return i >= PREFIX_MIN_BYTES && !typed[i];
}

int tape_distance_rank(const char *typed, const char *known)
{
    int distance = tape_distance_words(typed, known);
    if (begins_with(known, typed))
        return 0;
    return tape_distance_close(known, distance) ? distance : -1;
}
