/* Questions to an index in SQL. After cmocka.h. */
#ifndef TAPE_TESTS_UNIT_ASK_INDEX_H
#define TAPE_TESTS_UNIT_ASK_INDEX_H

#include <sqlite3.h>
#include <stdio.h>

#include "format/index.h"

/* The rows of a query: values by '|', rows by '\n'. Lives until the next call. */
static inline const char *ask_index(struct tape_index *index, const char *sql)
{
    static char answer[65536];
    sqlite3_stmt *statement;
    size_t used = 0;
    answer[0] = '\0';
    if (sqlite3_prepare_v2(tape_index_handle(index), sql, -1, &statement, NULL) != SQLITE_OK)
        return sqlite3_errmsg(tape_index_handle(index));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *text = (const char *)sqlite3_column_text(statement, i);
            used += (size_t)snprintf(answer + used, sizeof answer - used, "%s%s",
                                     i      ? "|"
                                     : used ? "\n"
                                            : "",
                                     text ? text : "-");
            assert_true(used < sizeof answer);
        }
    }
    sqlite3_finalize(statement);
    return answer;
}

#endif
