/* The source itself, for the table that a processor with the instruction never uses. */
#include "format/crc32c.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void gives_the_published_values(void **state)
{
    (void)state;
    uint8_t block[32];
    assert_int_equal(tape_crc32c_update(0, "", 0), 0);
    assert_int_equal(tape_crc32c_update(0, "123456789", 9), 0xe3069283);
    memset(block, 0, sizeof block); /* RFC 3720, B.4 */
    assert_int_equal(tape_crc32c_update(0, block, sizeof block), 0x8a9136aa);
    memset(block, 0xff, sizeof block);
    assert_int_equal(tape_crc32c_update(0, block, sizeof block), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        block[i] = (uint8_t)i;
    assert_int_equal(tape_crc32c_update(0, block, sizeof block), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        block[i] = (uint8_t)(31 - i);
    assert_int_equal(tape_crc32c_update(0, block, sizeof block), 0x113fdb5c);
}

static void continues_over_any_split(void **state)
{
    (void)state;
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    uint32_t whole = tape_crc32c_update(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = tape_crc32c_update(0, bytes, cut);
        assert_int_equal(tape_crc32c_update(first, bytes + cut, sizeof bytes - cut), whole);
    }
}

static void table_and_instruction_agree(void **state)
{
    (void)state;
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i + 3);
    for (size_t from = 0; from < 9; from++)
        for (size_t length = 0; length + from <= sizeof bytes; length++)
            assert_int_equal(~update_by_table(~0u, bytes + from, length),
                             tape_crc32c_update(0, bytes + from, length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_values),
        cmocka_unit_test(continues_over_any_split),
        cmocka_unit_test(table_and_instruction_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
