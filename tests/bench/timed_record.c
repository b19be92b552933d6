/*
 * tape-record itself, with a clock in it: linked with --wrap=tape_store_publish, so that every
 * frame that the receive thread has put into the ring tells how long ago it was sent (sender's
 * stamped messages). BENCH_FRAMES of them; then the figures go to stdout.
 */
#include "format/ws.h"
#include "record/store.h"
#include "tests/bench/report.h"

/* The linker's names. */
uint8_t *__real_tape_store_reserve(struct tape_store *store, size_t bytes);
uint8_t *__wrap_tape_store_reserve(struct tape_store *store, size_t bytes);
uint64_t __real_tape_store_publish(struct tape_store *store, const struct tape_record *record);
uint64_t __wrap_tape_store_publish(struct tape_store *store, const struct tape_record *record);

static const uint8_t *room; /* of the record being put; all by the receive thread */
static struct bench_report report;

uint8_t *__wrap_tape_store_reserve(struct tape_store *store, size_t bytes)
{
    uint8_t *found = __real_tape_store_reserve(store, bytes);
    room = found;
    return found;
}

static void take(const struct tape_record *record)
{
    size_t head = room[1] < 126 ? 2 : room[1] == 126 ? 4 : 10;
    if (report.wanted == 0) {
        const char *frames = getenv("BENCH_FRAMES");
        bench_report_begin(&report, "tape-record", frames ? strtoull(frames, NULL, 10) : 1, 1);
    }
    if (report.messages < report.wanted &&
        bench_report_message(&report, (const char *)room + head, record->bytes - head))
        bench_report_end(&report);
}

uint64_t __wrap_tape_store_publish(struct tape_store *store, const struct tape_record *record)
{
    uint64_t ordinal = __real_tape_store_publish(store, record);
    if (record->kind == TAPE_RECORD_FRAME_IN && (room[0] & 0x0f) == TAPE_WS_TEXT)
        take(record);
    return ordinal;
}
