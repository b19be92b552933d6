/* What `play` says beside its data: damage, what a follower waits for, an answer without messages.
 */
#include <inttypes.h>
#include <string.h>

#include "replay/left.h"
#include "replay/pace.h"
#include "replay/play_internal.h"
#include "replay/printable.h"
#include "replay/receipt_source.h"
#include "replay/span.h"
#include "replay/timespec.h"

/* A follower that waits for a recorder says so this often. */
#define PLAY_REMIND_NS 10000000000ll
/* … once it is clear that it did not just end in order. */
#define PLAY_DEAD_NS 500000000ll

FILE *tape_play_notices(struct tape_play *play)
{
    tape_status_line_hide(&play->line);
    return play->notices;
}

void tape_play_tell_damages(struct tape_play *play)
{
    struct tape_source *source = tape_transport_source(play->transport);
    struct tape_source_damage damage;
    char line[TAPE_RECEIPT_DAMAGE_BYTES];
    int total = tape_source_damages(source);
    for (; play->damages_told < total; play->damages_told++) {
        if (!tape_source_damage(source, play->damages_told, &damage))
            continue;
        tape_receipt_damage_line(line, &damage, play->receipt.archives,
                                 play->receipt.archives_count);
        fprintf(tape_play_notices(play), "tape-replay: %s\n", line);
    }
}

static void tell_dead_recorder(struct tape_play *play)
{
    int64_t now_ns = tape_pace_now();
    if (play->waiting_since_ns == 0)
        play->waiting_since_ns = now_ns;
    if (play->reminded_ns == 0 && now_ns - play->waiting_since_ns >= PLAY_DEAD_NS) {
        play->reminded_ns = now_ns;
        fputs("tape-replay: the recorder died; waiting for the next one\n",
              tape_play_notices(play));
    } else if (play->reminded_ns != 0 && now_ns - play->reminded_ns >= PLAY_REMIND_NS) {
        play->reminded_ns = now_ns;
        fprintf(tape_play_notices(play),
                "tape-replay: still waiting for a recorder, %" PRId64 " s\n",
                (now_ns - play->waiting_since_ns) / 1000000000);
    }
}

void tape_play_tell_follow(struct tape_play *play)
{
    struct tape_source_state state;
    tape_source_read_state(tape_transport_source(play->transport), &state);
    if (state.overruns > play->overruns_told) {
        play->overruns_told = state.overruns;
        fputs("tape-replay: too slow for the ring: back to the segments, nothing is lost\n",
              tape_play_notices(play));
    }
    if (!state.recorder_alive) {
        if (play->met)
            tell_dead_recorder(play);
        return;
    }
    if (play->reminded_ns != 0)
        fputs("tape-replay: recording goes on\n", tape_play_notices(play));
    play->met = 1;
    play->waiting_since_ns = play->reminded_ns = 0;
}

/* Nothing of the archive lies in the time asked for. */
static void tell_outside(struct tape_play *play)
{
    const struct tape_options *options = play->options;
    const struct tape_receipt *receipt = &play->receipt;
    char first[TAPE_TIMESPEC_TEXT_BYTES], last[TAPE_TIMESPEC_TEXT_BYTES];
    int64_t first_ns, last_ns;
    if (tape_span_read_all(options->archives, options->archives_count, &first_ns, &last_ns, NULL) <
            0 ||
        (first_ns == 0 && last_ns == 0) ||
        ((receipt->from_ns == 0 || receipt->from_ns <= last_ns) &&
         (receipt->to_ns == 0 || receipt->to_ns > first_ns)))
        return;
    tape_timespec_format(first, first_ns);
    tape_timespec_format(last, last_ns);
    fprintf(tape_play_notices(play),
            "tape-replay: that is outside of the archive, which reaches from %s to %s\n", first,
            last);
}

/* An empty answer to a narrow question may be a slip of the pen; to a wide one, a
 * disk that is gone. */
void tape_play_tell_nothing_matched(struct tape_play *play)
{
    const struct tape_options *options = play->options;
    int span = options->from.given || options->to.given;
    char stream[300];
    if (play->receipt.totals.messages > 0 || play->receipt.end > TAPE_RECEIPT_RECORDER ||
        options->json)
        return;
    FILE *to = tape_play_notices(play);
    if (!span && !options->stream) {
        fputs("tape-replay: there is no message; tape-replay verify tells whether any is missing\n",
              to);
        return;
    }
    fputs("tape-replay: no message", to);
    if (options->stream)
        fprintf(
            to, " of --stream %s",
            tape_printable_text(stream, sizeof stream, options->stream, strlen(options->stream)));
    fprintf(to, "%s; tape-replay ls tells what there is\n", span ? " in the time asked for" : "");
    if (span)
        tell_outside(play);
}

static void tell_left_of(struct tape_play *play, const char *path)
{
    char text[1024];
    const char *colon = play->options->archives_count > 1 ? ": " : "";
    uint64_t left = tape_left_of_archive(path);
    if (left == 0)
        return;
    tape_printable_text(text, sizeof text, path, *colon ? strlen(path) : 0);
    fprintf(tape_play_notices(play),
            "tape-replay: %s%sthe recorder died: %" PRIu64
            " records are in its ring only; run tape-record --repair or record again\n",
            text, colon, left);
}

/* The end of an archive that a recorder left by dying is not all there is. */
void tape_play_tell_left(struct tape_play *play)
{
    const struct tape_options *options = play->options;
    if (play->receipt.end != TAPE_RECEIPT_ARCHIVE || options->to.given)
        return;
    for (int i = 0; i < options->archives_count; i++)
        tell_left_of(play, options->archives[i]);
}

/* Archives to compare of which nothing came twice may be of different days. */
void tape_play_tell_apart(struct tape_play *play)
{
    const struct tape_options *options = play->options;
    struct tape_source *source = tape_transport_source(play->transport);
    struct tape_source_share share;
    int rows = 0;
    for (; tape_source_share(source, rows, &share); rows++)
        if (share.late > 0)
            return;
    if (options->archives_count < 2 || rows == 0 ||
        !tape_span_are_apart(options->archives, options->archives_count))
        return;
    play->receipt.apart = 1;
    if (!options->json)
        fputs("tape-replay: the archives share no time: nothing could be compared\n",
              tape_play_notices(play));
}
