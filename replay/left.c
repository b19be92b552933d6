#include "replay/left.h"

#include "format/ring.h"
#include "replay/catalog.h"

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

/* The catalog is asked only where there is a ring. */
static uint64_t look(struct tape_archive *archive)
{
    struct tape_catalog catalog;
    if (tape_left_in_ring(archive, 0) == 0 || tape_catalog_open(&catalog, archive, NULL) < 0)
        return 0;
    uint64_t left = tape_left_in_ring(archive, tape_index_next_ordinal(catalog.index));
    tape_catalog_close(&catalog);
    return left;
}

uint64_t tape_left_of_archive(const char *path)
{
    struct tape_archive *archive = tape_archive_open(path, NULL);
    uint64_t left = archive ? look(archive) : 0;
    tape_archive_close(archive);
    return left;
}
