#include "replay/findings.h"

#include <stdarg.h>
#include <string.h>

#include "replay/object.h"
#include "replay/printable.h"
#include "replay/status_word.h"

static const char *verdict_word(int verdict)
{
    if (verdict == TAPE_FINDINGS_NOTE)
        return "note";
    return verdict == TAPE_FINDINGS_INDEX ? "index" : tape_status_word(verdict);
}

void tape_findings_add(struct tape_findings *findings, int verdict, const char *format, ...)
{
    char text[TAPE_ERROR_TEXT_BYTES], shown[TAPE_ERROR_TEXT_BYTES + 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (verdict == TAPE_FINDINGS_NOTE)
        findings->notes++;
    else if (findings->damages++ == 0)
        findings->first = verdict == TAPE_FINDINGS_INDEX ? TAPE_CORRUPT : verdict;
    if (!findings->array) {
        tape_printable_text(shown, sizeof shown, text, strlen(text));
        fprintf(findings->to, "%-8s %s\n", verdict_word(verdict), shown);
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "verdict", verdict_word(verdict));
    tape_object_put_string(object, "text", text);
    cJSON_AddItemToArray(findings->array, object);
}
