/* Both ways of looking at 64 bytes, whichever this processor would take: so the source itself. */
#include "format/scan_levels.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/guard.h"
#include "tests/unit/random_below.h"

enum { ROOM = 4096 };

#ifdef TAPE_SCAN_SSE2
typedef const char *walker(const char *at, const char *end);

static const char *find_end(walker *walk, const char *at, const char *end)
{
    return end - at >= 3 && memcmp(at, "[[\"", 3) == 0 ? walk(at + 2, end) : NULL;
}

/* Every place that the end can have in a window, at the forbidden page and before other bytes. */
static void finds_the_end_of_a_list(void **state)
{
    struct guard guard = guard_open(ROOM);
    (void)state;
    for (int levels = 1; levels < 12; levels++) {
        for (int digits = 0; digits < 70; digits++) {
            for (size_t more = 0; more < 70; more += 23) {
                char list[ROOM] = "[";
                size_t bytes = 1;
                for (int i = 0; i < levels; i++)
                    bytes +=
                        (size_t)snprintf(list + bytes, sizeof list - bytes, "[\"%0*d\",\"%d\"]%s",
                                         digits + 1, i, i * i, i + 1 < levels ? "," : "]");
                memset(list + bytes, '"', more);
                if (bytes + more < WINDOW_BYTES)
                    continue;
                const char *at = (const char *)guard_put(&guard, list, bytes + more);
                assert_ptr_equal(find_end(walk_plainly, at, at + bytes + more), at + bytes);
                if (HAS_AVX2)
                    assert_ptr_equal(find_end(walk_with_avx2, at, at + bytes + more), at + bytes);
                assert_ptr_equal(tape_scan_levels(at, at, at + bytes + more), at + bytes);
            }
        }
    }
    guard_close(&guard);
}

/* What they take is what a strict scan takes, after any change; both ways take the same. */
static void takes_nothing_that_is_not_a_list(void **state)
{
    static const char bytes_of_lists[] = "[]\",\"\"],[[[]]0.1{}:\\\n\t \x80";
    struct guard guard = guard_open(ROOM);
    int taken = 0, changed = 0;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char list[ROOM] = "[";
        size_t bytes = 1;
        int levels = 1 + (int)random_below(8);
        for (int i = 0; i < levels; i++)
            bytes += (size_t)snprintf(list + bytes, sizeof list - bytes, "[\"%d.%d\",\"%d\"]%s",
                                      (int)random_below(100000), (int)random_below(100), i,
                                      i + 1 < levels ? "," : "]");
        bytes += (size_t)snprintf(list + bytes, sizeof list - bytes, "%s",
                                  random_below(2) ? ",\"a\":[[\"1\",\"2\"]]}}" : "");
        unsigned changes = (unsigned)random_below(4);
        for (unsigned i = 0; i < changes; i++) {
            size_t at = random_below((uint32_t)bytes), to = random_below((uint32_t)bytes);
            size_t moved = random_below(4);
            if (at + moved <= bytes && to + moved <= bytes)
                memmove(list + to, list + at, moved);
            else
                list[at] = bytes_of_lists[random_below(sizeof bytes_of_lists - 1)];
        }
        bytes -= random_below(3) ? 0 : random_below((uint32_t)bytes);
        if (bytes < WINDOW_BYTES)
            continue;
        const char *at = (const char *)guard_put(&guard, list, bytes);
        const char *to = find_end(walk_plainly, at, at + bytes);
        if (HAS_AVX2)
            assert_ptr_equal(find_end(walk_with_avx2, at, at + bytes), to);
        if (to)
            assert_ptr_equal(tape_scan_value(at, at + bytes, 1), to);
        taken += to != NULL;
        changed += to != NULL && changes > 0;
    }
    assert_true(taken > 10000 && changed > 1000);
    guard_close(&guard);
}
#endif

static void leaves_what_is_short_or_empty(void **state)
{
    static const char *const lists[] = {"[]", "[[]]", "[[\"1\",\"2\"]]", "[", "[[\"", ""};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        assert_null(tape_scan_levels(lists[i], lists[i], lists[i] + strlen(lists[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef TAPE_SCAN_SSE2
        cmocka_unit_test(finds_the_end_of_a_list),
        cmocka_unit_test(takes_nothing_that_is_not_a_list),
#endif
        cmocka_unit_test(leaves_what_is_short_or_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
