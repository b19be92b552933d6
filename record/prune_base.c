#include "record/prune_base.h"

#include <fcntl.h>
#include <unistd.h>

enum { RESERVE_BYTES = 4 << 20 };

int tape_prune_base_take(struct tape_prune_base *base, struct tape_error *error)
{
    struct tape_error why = {0};
    int pending = 0;
    if (base->index)
        return 0;
    base->index = tape_index_open_base(base->archive, &pending, &why);
    if (base->index)
        return pending ? tape_index_settle_base(base->archive, error) : 0;
    base->index = tape_index_open_memory(base->archive, error);
    if (base->index == NULL)
        return error->status;
    if (why.status == TAPE_MISSING)
        return 0;
    *error = why;
    return 1;
}

int tape_prune_base_ahead(const struct tape_prune_base *base, uint64_t until,
                          struct tape_index **ahead, struct tape_error *error)
{
    *ahead = tape_index_open_memory(base->archive, error);
    if (*ahead == NULL)
        return error->status;
    int whole = tape_index_copy(*ahead, base->index, error);
    if (whole == 0) /* without records between them the two are one */
        whole = until == tape_index_pruned_ordinal(base->index)
                    ? 1
                    : tape_index_advance_base(*ahead, base->archive, until, error);
    if (whole == 1)
        return 1;
    tape_index_close(*ahead);
    *ahead = NULL;
    return whole;
}

static void give_reserve_up(struct tape_prune_base *base)
{
    if (base->reserve > 0)
        close(base->reserve - 1);
    base->reserve = 0;
}

int tape_prune_base_save(struct tape_prune_base *base, struct tape_index *ahead,
                         struct tape_error *error)
{
    if (tape_index_pruned_ordinal(ahead) == 0) /* files without records: nothing is known of them */
        return 0;
    int status = tape_index_save_base(ahead, base->archive, error);
    if (status != TAPE_FULL || base->reserve == 0)
        return status;
    give_reserve_up(base);
    return tape_index_save_base(ahead, base->archive, error);
}

int tape_prune_base_move(struct tape_prune_base *base, struct tape_index *ahead, int saved,
                         struct tape_error *error)
{
    tape_index_close(base->index);
    base->index = ahead;
    int status = saved ? 0 : tape_prune_base_save(base, ahead, error);
    if (status == 0 && tape_index_pruned_ordinal(ahead) > 0)
        status = tape_index_settle_base(base->archive, error);
    base->owed = status < 0;
    return status;
}

void tape_prune_base_pay(struct tape_prune_base *base)
{
    struct tape_error error = {0};
    if (base->owed && tape_prune_base_save(base, base->index, &error) == 0 &&
        tape_index_settle_base(base->archive, &error) == 0)
        base->owed = 0;
    if (base->reserve > 0 || !base->wants_reserve)
        return;
    int fd = openat(tape_archive_directory_fd(base->archive), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC,
                    0600);
    if (fd >= 0 && fallocate(fd, 0, 0, RESERVE_BYTES) == 0)
        base->reserve = fd + 1;
    else if (fd >= 0)
        close(fd);
}

void tape_prune_base_clear(struct tape_prune_base *base)
{
    give_reserve_up(base);
    tape_index_close(base->index);
    base->index = NULL;
}
