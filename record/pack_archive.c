#include "record/pack_archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/clock.h"
#include "record/pack.h"
#include "record/resume.h"

/* entries: a copy of those to be packed; the archive is scanned again meanwhile. */
struct packing {
    struct tape_archive *archive;
    struct tape_index *index;
    int level;
    const atomic_int *stop;
    struct tape_progress *progress;
    struct tape_progress_packing figures;
    struct tape_pack_report *report;
    struct tape_archive_entry *entries;
    uint64_t *sizes;
    int length, at;
    uint64_t records_before, bytes_before; /* of those that are done */
};

static void say_info(void *context, const char *words)
{
    tape_progress_say(context, "info", words);
}

/* What is there to do, for the percentage. Damage shows when it is read. */
static int list(struct packing *packing, struct tape_error *error)
{
    int count = tape_archive_scan(packing->archive, error);
    if (count <= 0)
        return count;
    packing->report->segments = (uint32_t)count;
    packing->entries = calloc((size_t)count, sizeof *packing->entries);
    packing->sizes = calloc((size_t)count, sizeof *packing->sizes);
    if (!packing->entries || !packing->sizes)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    for (int i = 0; i < count; i++) {
        const struct tape_archive_entry *entry = tape_archive_entry(packing->archive, i);
        int due = tape_pack_is_due(packing->archive, entry, packing->level,
                                   &packing->sizes[packing->length]);
        if (!due)
            continue;
        packing->figures.of_bytes += packing->sizes[packing->length];
        packing->entries[packing->length++] = *entry;
    }
    packing->figures.of_segments = (uint32_t)packing->length;
    return 0;
}

static void show(void *context, uint64_t records, double part, uint64_t bytes)
{
    struct packing *packing = context;
    packing->figures.records = packing->records_before + records;
    packing->figures.bytes =
        packing->bytes_before + (uint64_t)((double)packing->sizes[packing->at] * part);
    packing->figures.packed_bytes = packing->report->bytes_after + bytes;
    tape_progress_show_packing(packing->progress, &packing->figures);
}

static int pack_one(struct packing *packing, struct tape_error *error)
{
    struct tape_pack_figures figures;
    struct tape_pack_task *task = NULL;
    struct tape_error trouble = {0};
    struct tape_pack_options options = {
        .archive = packing->archive,
        .entry = packing->entries[packing->at],
        .level = packing->level,
        .index = packing->index,
        .stop = packing->stop,
        .progress = show,
        .context = packing,
    };
    int status = tape_pack_write(&options, &task, error);
    if (status <= 0)
        return status;
    tape_pack_read_figures(task, &figures);
    status = tape_pack_publish(task, packing->archive, packing->index, &trouble, error);
    if (trouble.status < 0) {
        tape_error_wrap(&trouble, "the next start makes it good");
        tape_progress_say(packing->progress, "warn", trouble.text);
    }
    if (status < 0)
        return status;
    packing->report->packed++;
    packing->report->records += figures.records;
    packing->report->bytes_before += figures.bytes_before;
    packing->report->bytes_after += figures.bytes_after;
    packing->records_before += figures.records;
    return 0;
}

static int is_stopped(const struct packing *packing)
{
    return packing->stop && atomic_load_explicit(packing->stop, memory_order_relaxed);
}

static int pack_all(struct packing *packing, struct tape_error *error)
{
    for (; packing->at < packing->length && !is_stopped(packing); packing->at++) {
        int status = pack_one(packing, error);
        if (status < 0 && tape_error_exit_code(status) == 3) {
            tape_error_wrap(error, "left as it is");
            tape_progress_say(packing->progress, "warn", error->text);
            packing->report->left++;
            *error = (struct tape_error){0};
        } else if (status < 0) {
            return status;
        }
        packing->bytes_before += packing->sizes[packing->at];
        packing->figures.segments = packing->report->packed;
    }
    packing->report->stopped = is_stopped(packing);
    return 0;
}

static int pack_locked(struct packing *packing, struct tape_error *error)
{
    struct tape_resume resume = {0};
    int status = tape_resume_run(&resume, packing->archive, 1, say_info, packing->progress, error);
    if (status == 0)
        status = tape_archive_set_owner(packing->archive, "", 0, error);
    packing->index = resume.index;
    packing->report->lost = resume.recovered.lost_records > 0 || resume.recovered.torn_records ||
                            resume.recovered.unreadable > 0;
    if (status == 0)
        status = list(packing, error);
    packing->figures.began_ns = tape_clock_monotonic();
    if (status == 0)
        status = pack_all(packing, error);
    tape_progress_end(packing->progress);
    free(packing->entries);
    free(packing->sizes);
    tape_resume_clear(&resume);
    return status;
}

int tape_pack_archive(const char *path, int level, const atomic_int *stop, struct tape_progress *to,
                      struct tape_pack_report *report, struct tape_error *error)
{
    struct packing packing = {.level = level, .stop = stop, .progress = to, .report = report};
    memset(report, 0, sizeof *report);
    /* opening for reading first: a mistyped path must not become an archive */
    struct tape_archive *archive = tape_archive_open(path, error);
    if (archive == NULL)
        return error->status;
    tape_archive_close(archive);
    packing.archive = tape_archive_create(path, error);
    if (packing.archive == NULL)
        return error->status;
    int status = pack_locked(&packing, error);
    tape_archive_close(packing.archive);
    return status < 0 ? tape_error_wrap(error, "pack %.700s", path) : 0;
}
