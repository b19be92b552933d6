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
    uint32_t at = slot->count++;
    int64_t *values = slot->values;
    slot->decimals[at] = (uint8_t)number->decimals;
    values[at] = number->value;
    return 1;
}

/* Behind the time at ${at}, or NULL. */
static __attribute__((noinline)) const uint8_t *match_time(struct tape_pack_slot *slot,
                                                           const uint8_t *at)
{
    struct tape_pack_number number;
    at = tape_pack_number_read_time(at, &number);
    return at != NULL && push_number(slot, &number) ? at : NULL;
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

/* Whether the text begins with the step's literal. */
static inline int same_literal(const uint8_t *text, const struct tape_pack_step *step)
{
    uint32_t i = 8, bytes = step->bytes;
    if (!same_short(text, step))
        return 0;
    if (bytes <= 8)
        return 1;
    for (; i + 8 <= bytes; i += 8)
        if (load(text + i) != load(step->text + i))
            return 0;
    return load(text + bytes - 8) == load(step->text + bytes - 8);
}

typedef const uint8_t *read_number(const uint8_t *from, struct tape_pack_number_layout *layout,
                                   struct tape_pack_number *number);

static inline const uint8_t *read_plain(const uint8_t *from, struct tape_pack_number_layout *layout,
                                        struct tape_pack_number *number)
{
    (void)layout;
    return tape_pack_number_read(from, number);
}

/* Takes elements of a list of pairs off the front, as many as are of the usual form; *at moves
 * behind the last one's comma, or to what else follows it. Returns how many. */
typedef uint32_t read_pairs(struct tape_pack_step *steps, const uint8_t **at);

static inline uint32_t read_no_pairs(struct tape_pack_step *steps, const uint8_t **at)
{
    (void)steps;
    (void)at;
    return 0;
}

#ifdef TAPE_PACK_NUMBER_WIDE
/* Both numbers are found in one load of 32 bytes, so that the second does not wait for the first,
 * and joined at once. */
static __attribute__((noinline)) TAPE_PACK_NUMBER_TARGET uint32_t
read_pairs_wide(struct tape_pack_step *steps, const uint8_t **position)
{
    struct tape_pack_slot *one = steps[0].slot, *other = steps[1].slot;
    int64_t *values = one->values, *other_values = other->values;
    uint8_t *decimals = one->decimals, *other_decimals = other->decimals;
    const __m256i zeros = _mm256_set1_epi8('0'), to_top = _mm256_set1_epi8(127 - 9);
    struct tape_pack_number_layout *first = &steps[0].layout;
    struct tape_pack_number_span second;
    const uint8_t *at = *position;
    uint32_t i = one->count, room = one->room < other->room ? one->room : other->room;
    for (; i < room && same_short(at, &steps[0]); i++) {
        const uint8_t *from = at + steps[0].bytes;
        __m256i digits =
            _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)from), zeros);
        unsigned others = (unsigned)_mm256_movemask_epi8(_mm256_adds_epu8(digits, to_top));
        if (!tape_pack_number_is_alike(from, others, first)) {
            if (!tape_pack_number_measure(from, others, &second))
                break;
            tape_pack_number_keep(from, others, &second, first);
        }
        if (!same_short(from + first->bytes, &steps[1]))
            break;
        unsigned behind = first->bytes + steps[1].bytes; /* at most 15 + 8 */
        const uint8_t *next = from + behind;
        if (!tape_pack_number_measure(next, others >> behind, &second) ||
            !same_short(next + second.bytes, &steps[2]))
            break;
        __m128i next_digits =
            _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)next), _mm_set1_epi8('0'));
        __m256i both = tape_pack_number_join_wide(
            _mm256_inserti128_si256(digits, next_digits, 1),
            _mm256_set_m128i(tape_pack_number_places(&second),
                             _mm_loadu_si128((const __m128i *)(const void *)first->places)));
        values[i] = _mm_cvtsi128_si64(_mm256_castsi256_si128(both));
        decimals[i] = first->fraction;
        other_values[i] = _mm_cvtsi128_si64(_mm256_extracti128_si256(both, 1));
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
    struct tape_pack_step *step = template_->steps;
    uint32_t outer[TAPE_PACKED_DEPTH_MAX + 1], depth = 0, elements = 0;
    struct tape_pack_number number;
    for (;;) {
        if (!same_literal(at, step))
            return NULL;
        at += step->bytes;
        if (step->action == TAPE_PACK_DO_NUMBER) {
            at = read(at, &step->layout, &number);
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
            const uint8_t *behind = at; /* at itself stays in a register */
            outer[depth++] = elements;
            elements = step->pairs ? pairs(step + 1, &behind) : 0;
            at = behind;
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
            at = match_time(step->slot, at);
            if (at == NULL)
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
    return run(template_, text, end, bodies, read_plain, read_no_pairs);
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
