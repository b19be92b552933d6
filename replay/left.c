#include "replay/left.h"

#include "format/ring.h"

uint64_t tape_left_in_ring(const struct tape_archive *archive, uint64_t next_ordinal)
{
    struct tape_archive_owner owner;
    struct tape_ring_state state;
    if (tape_archive_read_owner(archive, &owner, NULL) < 0 || owner.held ||
        owner.ring_path[0] == '\0')
        return 0;
    struct tape_ring *ring = tape_ring_attach(owner.ring_path, tape_archive_id(archive), NULL);
    if (!ring)
        return 0;
    tape_ring_read_state(ring, &state);
    tape_ring_free(ring);
    return state.head_ordinal > next_ordinal ? state.head_ordinal - next_ordinal : 0;
}
