#include <sqlite3.h>

#include "format/index_internal.h"

int tape_index_copy(struct tape_index *to, struct tape_index *from, struct tape_error *error)
{
    sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
    int code = backup ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;
    sqlite3_backup_finish(backup);
    if (code != SQLITE_DONE)
        return tape_error_set(error, TAPE_FAILED, "%s: cannot be copied: %s", from->name,
                              sqlite3_errstr(code));
    return tape_index_load_place(to, error);
}
