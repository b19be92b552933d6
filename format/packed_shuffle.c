#include "format/packed_shuffle.h"

#include <string.h>

enum {
    POINT = TAPE_PACKED_EIGHT, /* where it stands in the source */
    SUFFIX_MAX_BYTES = 7,
    ORDER_BYTES = 16,
    NOWHERE = 0x80, /* a shuffle puts 0 for it */
};

int tape_packed_shuffle_of(const struct tape_packed_step *step, struct tape_packed_shuffle *shuffle)
{
    if (step->kind > TAPE_PACKED_PUT_SCALED || step->after.length > sizeof shuffle->literal)
        return 0;
    const struct tape_packed_rule *rule = &step->of.rule;
    unsigned decimals = TAPE_PACKED_EIGHT - rule->whole, length = step->after.length;
    memset(shuffle, 0, sizeof *shuffle);
    memset(shuffle->suffix, '0', TAPE_PACKED_EIGHT);
    shuffle->suffix[POINT] = '.';
    memcpy(shuffle->literal, step->after.bytes, length);
    shuffle->literal_length = length;
    shuffle->rule = *rule;
    shuffle->scaled = step->kind == TAPE_PACKED_PUT_SCALED;
    shuffle->apart = length > SUFFIX_MAX_BYTES;
    if (shuffle->apart)
        length = 0;
    memcpy(shuffle->suffix + POINT + 1, step->after.bytes, length);
    for (unsigned zeros = 0; zeros < TAPE_PACKED_EIGHT; zeros++) {
        uint8_t *order = shuffle->orders + ORDER_BYTES * zeros;
        unsigned put = 0;
        for (unsigned digit = zeros; digit < rule->whole; digit++)
            order[put++] = (uint8_t)digit;
        if (rule->more > 0)
            order[put++] = POINT;
        for (unsigned i = 0; i < decimals; i++)
            order[put++] = (uint8_t)(rule->whole + i);
        for (unsigned i = 0; i < length; i++)
            order[put++] = (uint8_t)(POINT + 1 + i);
        shuffle->lengths[zeros] = put;
        while (put < ORDER_BYTES)
            order[put++] = NOWHERE;
    }
    return 1;
}

#ifdef __x86_64__

#include <tmmintrin.h>

int tape_packed_shuffle_supported(void)
{
    return __builtin_cpu_supports("ssse3") != 0;
}

__attribute__((target("ssse3"))) static inline uint8_t *
put_one(uint8_t *at, uint64_t value, const struct tape_packed_shuffle *shuffle, int scaled,
        int apart)
{
    if (scaled)
        value = tape_packed_unscale(value, &shuffle->rule);
    uint64_t digits = tape_packed_eight_fast(value);
    size_t bits = (size_t)__builtin_ctzll(digits | shuffle->rule.units) & 56; /* 8 * zeros */
    __m128i source = _mm_or_si128(_mm_cvtsi64_si128((int64_t)digits),
                                  _mm_load_si128((const __m128i *)shuffle->suffix));
    __m128i order = _mm_load_si128((const __m128i *)(shuffle->orders + 2 * bits));
    _mm_storeu_si128((__m128i *)at, _mm_shuffle_epi8(source, order));
    at += shuffle->lengths[bits / 8];
    if (apart) {
        memcpy(at, shuffle->literal, sizeof shuffle->literal);
        at += shuffle->literal_length;
    }
    return at;
}

__attribute__((target("ssse3"))) uint8_t *tape_packed_put_run(const struct tape_packed_step *step,
                                                              uint32_t index, uint8_t *at)
{
    for (const struct tape_packed_step *end = step + step->run; step < end; step++) {
        const struct tape_packed_shuffle *shuffle = step->of.shuffle;
        at = put_one(at, (uint64_t)step->values[index], shuffle, shuffle->scaled, shuffle->apart);
    }
    return at;
}

__attribute__((target("ssse3"))) static inline uint8_t *
put_pairs_as(const struct tape_packed_step *one, uint32_t from, uint64_t count, uint8_t *at,
             int complete)
{
    const struct tape_packed_shuffle *first = one[0].of.shuffle, *second = one[1].of.shuffle;
    const int64_t *ones = one[0].values + from, *twos = one[1].values + from;
    for (const int64_t *end = ones + count; ones < end; ones++, twos++) {
        if (complete) {
            at = put_one(at, (uint64_t)*ones, first, 0, 0);
            at = put_one(at, (uint64_t)*twos, second, 0, 0);
        } else {
            at = put_one(at, (uint64_t)*ones, first, first->scaled, first->apart);
            at = put_one(at, (uint64_t)*twos, second, second->scaled, second->apart);
        }
    }
    return at;
}

__attribute__((target("ssse3"))) uint8_t *
tape_packed_put_pairs(const struct tape_packed_sequence *list, uint32_t from, uint64_t count,
                      uint8_t *at)
{
    const struct tape_packed_shuffle *first = list->steps[0].of.shuffle;
    const struct tape_packed_shuffle *second = list->steps[1].of.shuffle;
    int complete = !(first->scaled | first->apart | second->scaled | second->apart);
    return complete ? put_pairs_as(list->steps, from, count, at, 1)
                    : put_pairs_as(list->steps, from, count, at, 0);
}

#else

int tape_packed_shuffle_supported(void)
{
    return 0;
}

uint8_t *tape_packed_put_run(const struct tape_packed_step *step, uint32_t index, uint8_t *at)
{
    (void)step;
    (void)index;
    return at;
}

uint8_t *tape_packed_put_pairs(const struct tape_packed_sequence *list, uint32_t from,
                               uint64_t count, uint8_t *at)
{
    (void)list;
    (void)from;
    (void)count;
    return at;
}

#endif
