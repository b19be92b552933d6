/* Matching a text against a template: what packing spends its time on. */
#include "format/pack_number.h"
#include "format/pack_template.h"
#include "format/packed.h"
#include "format/scan.h"

static inline uint64_t load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline int same_long(const uint8_t *text, const uint8_t *literal, uint32_t bytes)
{
    uint32_t i = 8;
    for (; i + 8 <= bytes; i += 8)
        if (load(text + i) != load(literal + i))
            return 0;
    return load(text + bytes - 8) == load(literal + bytes - 8);
}

static inline int push(struct tape_pack_slot *slot, int64_t value)
{
    if (__builtin_expect(slot->count == slot->room, 0) && !tape_pack_slot_grow(slot))
        return 0;
    slot->values[slot->count++] = value;
    return 1;
}

static inline int push_number(struct tape_pack_slot *slot, const struct tape_pack_number *number)
{
    if (__builtin_expect(slot->count == slot->room, 0) && !tape_pack_slot_grow(slot))
        return 0;
    slot->decimals[slot->count] = (uint8_t)number->decimals;
    slot->values[slot->count++] = number->value;
    return 1;
}

/* A string's inside or a bare scalar; NULL: it is none. */
static const uint8_t *match_text(struct tape_pack_slot *slot, int action, const uint8_t *at,
                                 const uint8_t *end, const uint8_t *bodies)
{
    const char *from = (const char *)at, *stop = (const char *)end;
    if (at >= end)
        return NULL;
    const char *to = action == TAPE_PACK_DO_STRING ? tape_scan_string(from, stop)
                     : *from == '"'                ? NULL
                                                   : tape_scan_scalar(from, stop);
    if (to == NULL)
        return NULL;
    uint64_t place = (uint64_t)(at - bodies) << 32 | (uint64_t)(to - from);
    return push(slot, (int64_t)place) ? (const uint8_t *)to : NULL;
}

/* As it was before the row. */
static void undo(struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->scope_count; i++)
        template_->scopes[i].running = template_->scopes[i].count;
    for (uint32_t i = 0; i < template_->slot_count; i++) {
        struct tape_pack_slot *slot = &template_->slots[i];
        uint32_t count =
            slot->scope == 0 ? template_->row_count : template_->scopes[slot->scope].count;
        slot->count = slot->count < count ? slot->count : count;
    }
}

static inline int same_short(const uint8_t *text, const struct tape_pack_step *step)
{
    return ((load(text) ^ step->word) & step->mask) == 0;
}

typedef const uint8_t *read_number(const uint8_t *from, struct tape_pack_number *number);

/* Takes elements of a list of pairs off the front, as many as are of the usual form; *at moves
 * behind the last one's comma, or to what else follows it. Returns how many. */
typedef uint32_t read_pairs(const struct tape_pack_step *steps, const uint8_t **at);

static inline uint32_t read_no_pairs(const struct tape_pack_step *steps, const uint8_t **at)
{
    (void)steps;
    (void)at;
    return 0;
}

#ifdef TAPE_PACK_NUMBER_WIDE
/* Both numbers are found in one load of 32 bytes: the second does not wait for the first. */
static __attribute__((noinline)) TAPE_PACK_NUMBER_TARGET uint32_t
read_pairs_wide(const struct tape_pack_step *steps, const uint8_t **position)
{
    struct tape_pack_slot *one = steps[0].slot, *other = steps[1].slot;
    int64_t *values = one->values, *other_values = other->values;
    uint8_t *decimals = one->decimals, *other_decimals = other->decimals;
    const __m256i zeros = _mm256_set1_epi8('0'), nines = _mm256_set1_epi8(9);
    const uint8_t *at = *position;
    uint32_t i = one->count, room = one->room < other->room ? one->room : other->room;
    for (; i < room && same_short(at, &steps[0]); i++) {
        struct tape_pack_number_span first, second;
        const uint8_t *from = at + steps[0].bytes;
        __m256i digits =
            _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)from), zeros);
        __m256i plain = _mm256_cmpeq_epi8(_mm256_min_epu8(digits, nines), digits);
        unsigned others = ~(unsigned)_mm256_movemask_epi8(plain);
        if (!tape_pack_number_measure(from, others, &first) ||
            !same_short(from + first.bytes, &steps[1]))
            break;
        unsigned behind = first.bytes + steps[1].bytes; /* at most 15 + 8 */
        const uint8_t *next = from + behind;
        if (!tape_pack_number_measure(next, others >> behind, &second) ||
            !same_short(next + second.bytes, &steps[2]))
            break;
        __m128i next_digits =
            _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)next), _mm_set1_epi8('0'));
        values[i] = tape_pack_number_join_wide(_mm256_castsi256_si128(digits), &first);
        decimals[i] = (uint8_t)first.fraction;
        other_values[i] = tape_pack_number_join_wide(next_digits, &second);
        other_decimals[i] = (uint8_t)second.fraction;
        at = next + second.bytes + steps[2].bytes;
        if (*at != ',') {
            i++;
            break;
        }
        at++;
    }
    uint32_t read = i - one->count;
    one->count = other->count = i;
    *position = at;
    return read;
}
#endif

static inline int close_list(struct tape_pack_template *template_,
                             const struct tape_pack_step *step, const uint8_t *at,
                             uint32_t elements)
{
    template_->scopes[step->scope].running += elements;
    return *at == ']' && push(step->slot, elements);
}

/* Where the text ends after all steps, or NULL. Nothing here looks where the record ends: the text
 * goes on with other bytes or with a zero, which no step takes, and the caller looks at the end. */
static inline __attribute__((always_inline)) const uint8_t *
run(struct tape_pack_template *template_, const uint8_t *at, const uint8_t *end,
    const uint8_t *bodies, read_number *read, read_pairs *pairs)
{
    const struct tape_pack_step *step = template_->steps;
    uint32_t outer[TAPE_PACKED_DEPTH_MAX + 1], depth = 0, elements = 0;
    struct tape_pack_number number;
    for (;;) {
        if (((load(at) ^ step->word) & step->mask) != 0)
            return NULL;
        if (step->bytes > 8 && !same_long(at, step->text, step->bytes))
            return NULL;
        at += step->bytes;
        if (step->action == TAPE_PACK_DO_NUMBER) {
            at = read(at, &number);
            if (at == NULL || !push_number(step->slot, &number))
                return NULL;
        } else if (step->action == TAPE_PACK_DO_NEXT) {
            elements++;
            if (*at == ',') {
                at++;
                step = step->jump;
                continue;
            }
            if (!close_list(template_, step, at, elements))
                return NULL;
            elements = outer[--depth];
        } else if (step->action == TAPE_PACK_DO_LIST) {
            if (*at == ']') {
                if (!push(step->slot, 0))
                    return NULL;
                step = step->jump;
                continue;
            }
            outer[depth++] = elements;
            elements = step->pairs ? pairs(step + 1, &at) : 0;
            if (elements > 0 && at[-1] != ',') { /* no element ends with one */
                if (!close_list(template_, step, at, elements))
                    return NULL;
                elements = outer[--depth];
                step = step->jump;
                continue;
            }
        } else if (step->action == TAPE_PACK_DO_END) {
            return at;
        } else if (step->action == TAPE_PACK_DO_TIME) {
            at = tape_pack_number_read_time(at, &number);
            if (at == NULL || !push_number(step->slot, &number))
                return NULL;
        } else {
            at = match_text(step->slot, step->action, at, end, bodies);
            if (at == NULL)
                return NULL;
        }
        step++;
    }
}

#ifdef TAPE_PACK_NUMBER_WIDE
static TAPE_PACK_NUMBER_TARGET const uint8_t *run_wide(struct tape_pack_template *template_,
                                                       const uint8_t *text, const uint8_t *end,
                                                       const uint8_t *bodies)
{
    return run(template_, text, end, bodies, tape_pack_number_read_wide, read_pairs_wide);
}
#endif

static const uint8_t *run_plain(struct tape_pack_template *template_, const uint8_t *text,
                                const uint8_t *end, const uint8_t *bodies)
{
    return run(template_, text, end, bodies, tape_pack_number_read, read_no_pairs);
}

static const uint8_t *run_best(struct tape_pack_template *template_, const uint8_t *text,
                               const uint8_t *end, const uint8_t *bodies)
{
#ifdef TAPE_PACK_NUMBER_WIDE
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
        return run_wide(template_, text, end, bodies);
#endif
    return run_plain(template_, text, end, bodies);
}

int tape_pack_template_match(struct tape_pack_template *template_, const uint8_t *text,
                             const uint8_t *end, const uint8_t *bodies)
{
    if (run_best(template_, text, end, bodies) != end) {
        undo(template_);
        return 0;
    }
    for (uint32_t i = 1; i < template_->scope_count; i++)
        template_->scopes[i].count = template_->scopes[i].running;
    return 1;
}
