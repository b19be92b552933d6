/* Rows on their way from the summariser to the index: which statement, with which values. Private
 * to summary*.c and index*.c. */
#ifndef TAPE_FORMAT_SUMMARY_ROWS_H
#define TAPE_FORMAT_SUMMARY_ROWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * TAPE_SUMMARY_ROW(name, values, SQL). The summariser gives the values in this order, the index
 * binds them as ?1, ?2 …
 */
#define TAPE_SUMMARY_ROW_TABLE(X)                                                                  \
    X(SESSION_START, 9,                                                                            \
      "INSERT INTO session(session_id, day, started_ns, version, host, pid, command, "             \
      "recovered_records, torn_bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                 \
    X(SESSION_END, 3, "UPDATE session SET ended_ns = ?2, end_reason = ?3 WHERE session_id = ?1")   \
    X(CONNECTION, 5,                                                                               \
      "INSERT INTO connection(connection_id, session_id, day, first_ns, first_ordinal, records, "  \
      "messages, bytes) VALUES(?1, ?2, ?3, ?4, ?5, 0, 0, 0)")                                      \
    X(CONNECTION_OPEN, 13,                                                                         \
      "UPDATE connection SET opened_ns = ?2, venue = ?3, url = ?4, peer = ?5, tls = ?6, "          \
      "cipher = ?7, certificate_sha256 = ?8, resolve_ns = ?9, connect_ns = ?10, tls_ns = ?11, "    \
      "upgrade_ns = ?12, opened_ordinal = ?13 WHERE connection_id = ?1")                           \
    X(CONNECTION_CLOSE, 9,                                                                         \
      "UPDATE connection SET closed_ordinal = ?2, closed_ns = ?3, closed_by = ?4, cause = ?5, "    \
      "close_code = ?6, close_reason = ?7, errno = ?8, detail = ?9 WHERE connection_id = ?1")      \
    X(CONNECTION_COUNTS, 6,                                                                        \
      "UPDATE connection SET first_message_ns = ?2, last_ns = ?3, records = ?4, messages = ?5, "   \
      "bytes = ?6 WHERE connection_id = ?1")                                                       \
    X(STREAM, 7,                                                                                   \
      "INSERT INTO stream(stream_id, venue, name, symbol, channel, sequence_rule, "                \
      "loss_detectable, messages, bytes, duplicates, breaks) "                                     \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0)")                                            \
    X(STREAM_COUNTS, 9,                                                                            \
      "UPDATE stream SET first_ns = ?2, last_ns = ?3, messages = ?4, bytes = ?5, "                 \
      "last_sequence = ?6, duplicates = ?7, breaks = ?8, open_gap = ?9 WHERE stream_id = ?1")      \
    X(SUBSCRIPTION, 10,                                                                            \
      "INSERT INTO subscription(subscription_id, connection_id, stream_id, day, request, "         \
      "asked_ns, acknowledged_ns, first_ns, status, error) "                                       \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT(subscription_id) "              \
      "DO UPDATE SET request = excluded.request, asked_ns = excluded.asked_ns, "                   \
      "acknowledged_ns = excluded.acknowledged_ns, first_ns = excluded.first_ns, "                 \
      "status = excluded.status, error = excluded.error")                                          \
    X(BLOCK, 14,                                                                                   \
      "INSERT INTO block(block_id, segment_id, number, offset, codec, stored_bytes, raw_bytes, "   \
      "crc32c, records, messages, payload_bytes, first_ns, last_ns, "                              \
      "realtime_minus_monotonic_ns) "                                                              \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")                       \
    X(SEGMENT_SUMS, 12,                                                                            \
      "INSERT INTO segment(segment_id, day, blocks, records, messages, payload_bytes, raw_bytes, " \
      "stored_bytes, first_ordinal, next_ordinal, first_ns, last_ns, resume_ordinal) "             \
      "VALUES(?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT(segment_id) "      \
      "DO UPDATE SET day = coalesce(day, excluded.day), blocks = blocks + 1, "                     \
      "records = records + excluded.records, messages = messages + excluded.messages, "            \
      "payload_bytes = payload_bytes + excluded.payload_bytes, "                                   \
      "raw_bytes = raw_bytes + excluded.raw_bytes, "                                               \
      "stored_bytes = stored_bytes + excluded.stored_bytes, "                                      \
      "first_ordinal = coalesce(first_ordinal, excluded.first_ordinal), "                          \
      "next_ordinal = excluded.next_ordinal, "                                                     \
      "resume_ordinal = coalesce(resume_ordinal, excluded.resume_ordinal), "                       \
      "first_ns = min(coalesce(first_ns, excluded.first_ns), excluded.first_ns), "                 \
      "last_ns = max(coalesce(last_ns, excluded.last_ns), excluded.last_ns)")                      \
    X(BLOCK_STREAM, 16,                                                                            \
      "INSERT INTO block_stream(first_ordinal, block_id, stream_id, day, messages, bytes, "        \
      "first_ns, last_ns, first_sequence, last_sequence, lat_n, lat_min_ns, lat_sum_ns, "          \
      "lat_p50_ns, lat_p99_ns, lat_max_ns) "                                                       \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")             \
    X(GAP, 11,                                                                                     \
      "INSERT INTO gap(gap_id, kind, stream_id, connection_id, day, from_ns, to_ns, from_id, "     \
      "to_id, missing, cause) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")               \
    X(GAP_END, 5,                                                                                  \
      "UPDATE gap SET to_ns = ?2, from_id = ?3, to_id = ?4, missing = ?5 WHERE gap_id = ?1")       \
    X(CLOCK, 11,                                                                                   \
      "INSERT INTO clock(ordinal, day, ns, monotonic_ns, state, status, synchronised, "            \
      "offset_ns, maxerror_ns, esterror_ns, step_ns) "                                             \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")                                      \
    X(DELAY, 9,                                                                                    \
      "INSERT INTO delay(ordinal, day, from_ns, to_ns, frames, p50_ns, p99_ns, max_ns, counts) "   \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                                                \
    X(PRUNED, 13,                                                                                  \
      "INSERT INTO pruned(segment_id, ordinal, day, ns, name, first_ordinal, next_ordinal, "       \
      "first_ns, last_ns, records, messages, file_bytes, rule) VALUES(?1, ?2, ?3, ?4, ?5, ?6, "    \
      "?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT(segment_id) DO NOTHING")                        \
    X(EVENT, 9,                                                                                    \
      "INSERT INTO event(ordinal, day, ns, level, kind, session_id, connection_id, stream_id, "    \
      "detail) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")

enum tape_summary_row {
#define TAPE_SUMMARY_ROW_ENUM(name, values, sql) TAPE_SUMMARY_ROW_##name,
    TAPE_SUMMARY_ROW_TABLE(TAPE_SUMMARY_ROW_ENUM)
#undef TAPE_SUMMARY_ROW_ENUM
        TAPE_SUMMARY_ROWS
};

enum { TAPE_SUMMARY_VALUES_MAX = 16, TAPE_SUMMARY_DETAIL_BYTES = 4096 };

/* A value that is not known; becomes NULL. */
#define TAPE_SUMMARY_NONE INT64_MIN

/*
 * The rows of one summary, one after the other: u8 row, then per value u8 0 (NULL), or 1 and i64,
 * or 2, u32 bytes and text. Zero-initialised when empty. Invariants: used <= room; failed says that
 * memory was short and that some row is not whole.
 */
struct tape_summary_rows {
    uint8_t *bytes;
    size_t used, room;
    int failed;
};

void tape_summary_rows_begin(struct tape_summary_rows *rows, int row);
/* TAPE_SUMMARY_NONE becomes NULL */
void tape_summary_rows_number(struct tape_summary_rows *rows, int64_t value);
/* NULL becomes NULL. Text is kept as valid UTF-8 without controls: other bytes are written \xHH. */
void tape_summary_rows_text(struct tape_summary_rows *rows, const char *text);
void tape_summary_rows_bytes(struct tape_summary_rows *rows, const char *text, size_t bytes);

/* tape_summary_clean(to, room, text, bytes): what tape_summary_rows_bytes would keep, at most room
 * bytes and whole characters; returns the length. */
size_t tape_summary_clean(char *to, size_t room, const char *text, size_t bytes);

/* One value as read back. text is borrowed and not terminated; NULL with is_text 0 and number
 * TAPE_SUMMARY_NONE is NULL. */
struct tape_summary_value {
    int64_t number;
    const char *text;
    uint32_t bytes;
};

/* tape_summary_rows_change(rows, row, value, number): the ${value}th value (from 0), which is a
 * number now, of every such row. */
void tape_summary_rows_change(struct tape_summary_rows *rows, int row, int value, int64_t number);

/* tape_summary_rows_next(rows, at, values): the row at *at (0 at first) with its values, *at moves
 * behind it; -1 at the end. */
int tape_summary_rows_next(const struct tape_summary_rows *rows, size_t *at,
                           struct tape_summary_value values[TAPE_SUMMARY_VALUES_MAX]);

/* A summary: what the index stores of one block. Applying it takes the index from base_ordinal to
 * next_ordinal; resume_ordinal and last_ns are the state to resume with. */
struct tape_summary {
    struct tape_summary_rows rows;
    uint64_t base_ordinal, next_ordinal, resume_ordinal;
    int64_t last_ns;
    uint32_t session, last_connection;
};

#ifdef __cplusplus
}
#endif
#endif
