/* The index as its files share it. Private to index*.c. */
#ifndef TAPE_FORMAT_INDEX_INTERNAL_H
#define TAPE_FORMAT_INDEX_INTERNAL_H

#include <sqlite3.h>
#include <stdint.h>

#include "format/index.h"
#include "format/summary_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* index.sql less its comments; made by embed_sql.sh */
extern const char tape_index_schema[];

/* TAPE_INDEX_STATEMENT(name, SQL): those that no summary row runs. */
#define TAPE_INDEX_STATEMENT_TABLE(X)                                                              \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(PUT_META, "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET "      \
                "value = excluded.value")                                                          \
    X(GET_META, "SELECT value FROM meta WHERE key = ?1")                                           \
    X(SET_SEGMENT,                                                                                 \
      "INSERT INTO segment(segment_id, name, state, sealed, created_ns, file_bytes, "              \
      "damaged_places) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(segment_id) DO UPDATE SET "  \
      "name = excluded.name, state = excluded.state, "                                             \
      "sealed = coalesce(excluded.sealed, sealed), "                                               \
      "created_ns = coalesce(excluded.created_ns, created_ns), "                                   \
      "file_bytes = coalesce(excluded.file_bytes, file_bytes), "                                   \
      "damaged_places = coalesce(excluded.damaged_places, damaged_places)")

enum tape_index_statement {
#define TAPE_INDEX_STATEMENT_ENUM(name, sql) TAPE_INDEX_##name,
    TAPE_INDEX_STATEMENT_TABLE(TAPE_INDEX_STATEMENT_ENUM)
#undef TAPE_INDEX_STATEMENT_ENUM
        TAPE_INDEX_STATEMENTS
};

/* What the meta table says. */
struct tape_index_place {
    uint64_t next_ordinal, resume_ordinal, pruned_ordinal;
    int64_t last_ns;
    uint32_t session, connection; /* the largest */
};

/*
 * Invariants: now is committed, plus what the open transaction applied; they are equal outside a
 * transaction. name is what errors call it. corrupt: SQLite found it so; a writer's file is moved
 * aside when it is closed.
 */
struct tape_index {
    struct sqlite3 *db;
    struct tape_archive *archive;
    const char *name;
    struct sqlite3_stmt *rows[TAPE_SUMMARY_ROWS];
    struct sqlite3_stmt *statements[TAPE_INDEX_STATEMENTS];
    struct tape_index_place now, committed;
    uint8_t writes, in_file, corrupt, in_transaction;
};

/* tape_index_fail(index, error, what): the status of SQLite's last error, its words after
 * "index.db: ${what}: ". */
int tape_index_fail(struct tape_index *index, struct tape_error *error, const char *what);

/* tape_index_statement(index, which): prepared and reset; NULL on failure. */
struct sqlite3_stmt *tape_index_statement(struct tape_index *index, int which);

/* tape_index_open_bytes(archive, name, data, bytes, error): in memory, from a serialised database
 * of any origin, checked as a file is; ${data} is from sqlite3_malloc64 and taken over in any case.
 */
struct tape_index *tape_index_open_bytes(struct tape_archive *archive, const char *name, void *data,
                                         int64_t bytes, struct tape_error *error);

/* tape_index_load_place(index, error): now and committed, from the tables. */
int tape_index_load_place(struct tape_index *index, struct tape_error *error);

/* tape_index_put_identity(index, error): archive id and version, in the open transaction. */
int tape_index_put_identity(struct tape_index *index, struct tape_error *error);

/* tape_index_apply_rows(index, rows, error): in the open transaction; the place does not move. */
int tape_index_apply_rows(struct tape_index *index, const struct tape_summary_rows *rows,
                          struct tape_error *error);

/* tape_index_load_before(index, ordinal, summariser, error): what the rows per block need of the
 * state that the fold had before record ${ordinal}: the streams' numbers, the connections that were
 * open, those that had ended. No counts, no gaps, no unfinished messages. */
int tape_index_load_before(struct tape_index *index, uint64_t ordinal,
                           struct tape_summariser *summariser, struct tape_error *error);

/* tape_index_put_pruned(index, error): now.pruned_ordinal, in the open transaction. */
int tape_index_put_pruned(struct tape_index *index, struct tape_error *error);

/* tape_index_rollback(index): ends the transaction, if there is one, without its work. */
void tape_index_rollback(struct tape_index *index);

/* tape_index_clear(index, error): empties every table. */
int tape_index_clear(struct tape_index *index, struct tape_error *error);

/* tape_index_adopt(index, base, error): an empty index becomes what ${base} knows. */
int tape_index_adopt(struct tape_index *index, struct tape_index *base, struct tape_error *error);

/* tape_index_fold_until(index, archive, summariser, until, error): index_catch_up.c's fold of the
 * records before ${until} alone, with the damage before it, and without the segments' rows. */
int tape_index_fold_until(struct tape_index *index, struct tape_archive *archive,
                          struct tape_summariser *summariser, uint64_t until,
                          struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
