#include "replay/source_copy.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 3 };

/* Points the slice into a copy of [from, from + bytes); 0 when it is not in there. */
static int move_slice(struct tape_slice *slice, const struct tape_slice *from, const uint8_t *copy)
{
    if (slice->data < from->data || slice->data + slice->bytes > from->data + from->bytes)
        return 0;
    slice->data = (const char *)copy + (slice->data - from->data);
    return 1;
}

/* Payload and name usually lie in the frame, and are not copied a second time. */
int tape_source_copy_make(struct tape_source_copy *copy, const struct tape_message *message)
{
    const struct tape_slice *from[PARTS] = {&message->frame, &message->payload, &message->stream};
    struct tape_slice *to[PARTS] = {&copy->message.frame, &copy->message.payload,
                                    &copy->message.stream};
    int moved[PARTS];
    size_t room = 1;
    copy->message = *message;
    copy->length = 0;
    for (int i = 0; i < PARTS; i++) {
        room += from[i]->bytes;
        moved[i] = from[i]->bytes == 0; /* such a slice may point anywhere that lasts */
        if (moved[i])
            to[i]->data = "";
    }
    copy->bytes = malloc(room);
    if (!copy->bytes)
        return 0;
    for (int i = 0; i < PARTS; i++) {
        if (moved[i])
            continue;
        uint8_t *at = copy->bytes + copy->length;
        memcpy(at, from[i]->data, from[i]->bytes);
        for (int j = i; j < PARTS; j++)
            if (!moved[j])
                moved[j] = move_slice(to[j], from[i], at);
        copy->length += from[i]->bytes;
    }
    return 1;
}

void tape_source_copy_free(struct tape_source_copy *copy)
{
    free(copy->bytes);
    copy->bytes = NULL;
    copy->length = 0;
}
