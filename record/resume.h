/* From a locked archive to the point where recording goes on: recovery, then the index. */
#ifndef TAPE_RECORD_RESUME_H
#define TAPE_RECORD_RESUME_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"
#include "format/summary.h"
#include "record/recover.h"

/* Zero-initialise. What it holds belongs to the caller (tape_resume_clear frees it). */
struct tape_resume {
    struct tape_index *index; /* NULL: index.db cannot be used; recording goes on without */
    struct tape_summariser *summariser; /* as at the archive's end */
    uint32_t next_session, next_connection;
    int index_rebuilt;
    struct tape_recover_report recovered;
};

/* tape_resume_run(resume, archive, every_segment, say, context, error): as tape_recover_run(); then
 * brings index.db up to date (anew where it is absent, damaged, or not of these segments). say may
 * be NULL. 0 or a status. */
int tape_resume_run(struct tape_resume *resume, struct tape_archive *archive, int every_segment,
                    void (*say)(void *context, const char *words), void *context,
                    struct tape_error *error);

void tape_resume_clear(struct tape_resume *resume);

#endif
