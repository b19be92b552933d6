#include "replay/timespec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_SECOND   1000000000ll
#define SECONDS_PER_DAY 86400ll
enum { NS_DIGITS_MIN = 17 }; /* since 1973 */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Days since 1970-01-01 of a proleptic Gregorian date: years are counted from March, so that the
 * leap day is the last of its year. */
static int64_t days_of_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Takes exactly ${digits} digits; -1 when they are not there. */
static int take_number(const char **at, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit((*at)[i]))
            return -1;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    return value;
}

/* Takes "." and one to nine digits as ns; 0 when there is no point, -1 when it is no fraction. */
static int64_t take_fraction(const char **at)
{
    if (**at != '.')
        return 0;
    (*at)++;
    int64_t ns = 0;
    int digits = 0;
    for (; is_digit(**at); (*at)++, digits++) {
        if (digits == 9)
            return -1;
        ns = ns * 10 + (**at - '0');
    }
    if (digits == 0)
        return -1;
    for (; digits < 9; digits++)
        ns *= 10;
    return ns;
}

/* Takes the digits of a number that fits; -1 when there is none or it does not. */
static int64_t take_whole(const char **at)
{
    int64_t value = 0;
    if (!is_digit(**at))
        return -1;
    for (; is_digit(**at); (*at)++)
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(**at - '0'), &value))
            return -1;
    return value;
}

/* Takes "HH:MM[:SS[.fraction]]" as ns of the day; -1 when it is none. */
static int64_t take_time_of_day(const char **at)
{
    int hour = take_number(at, 2);
    if (hour < 0 || hour > 23 || **at != ':')
        return -1;
    (*at)++;
    int minute = take_number(at, 2), second = 0;
    int64_t fraction = 0;
    if (minute < 0 || minute > 59)
        return -1;
    if (**at == ':') {
        (*at)++;
        second = take_number(at, 2);
        if (second < 0 || second > 60)
            return -1;
        fraction = take_fraction(at);
        if (fraction < 0)
            return -1;
    }
    return (hour * 3600ll + minute * 60ll + second) * NS_PER_SECOND + fraction;
}

/* Takes "Z", "+HH:MM", "-HH:MM" or nothing as seconds east of UTC; 1 when it is well-formed. */
static int take_zone(const char **at, int64_t *east)
{
    *east = 0;
    if (**at == 'Z' || **at == 'z') {
        (*at)++;
        return 1;
    }
    if (**at != '+' && **at != '-')
        return 1;
    int sign = **at == '-' ? -1 : 1;
    (*at)++;
    int hours = take_number(at, 2);
    if (hours < 0 || hours > 23 || **at != ':')
        return 0;
    (*at)++;
    int minutes = take_number(at, 2);
    if (minutes < 0 || minutes > 59)
        return 0;
    *east = sign * (hours * 3600ll + minutes * 60ll);
    return 1;
}

/* 1 and the ns when all of text is a date with or without a time of day. */
static int parse_date(const char *text, int64_t *ns)
{
    const char *at = text;
    int64_t of_day = 0, east = 0, seconds;
    int year = take_number(&at, 4);
    if (year < 0 || *at++ != '-')
        return 0;
    int month = take_number(&at, 2);
    if (month < 1 || month > 12 || *at++ != '-')
        return 0;
    int day = take_number(&at, 2);
    if (day < 1 || day > days_in_month(year, month))
        return 0;
    if (*at == 'T' || *at == 't' || *at == ' ') {
        at++;
        of_day = take_time_of_day(&at);
        if (of_day < 0)
            return 0;
    }
    if (!take_zone(&at, &east) || *at != '\0')
        return 0;
    seconds = days_of_date(year, month, day) * SECONDS_PER_DAY - east;
    /* The first midnight of the range lies before the range itself. */
    __int128 sum = (__int128)seconds * NS_PER_SECOND + of_day;
    *ns = (int64_t)sum;
    return sum >= INT64_MIN && sum <= INT64_MAX;
}

/* TIMESPEC_UNIT(word, ns): the longer of two words that begin alike comes first. */
#define TIMESPEC_UNIT_TABLE(X)                                                                     \
    X("ns", 1ll)                                                                                   \
    X("us", 1000ll)                                                                                \
    X("\xc2\xb5s", 1000ll)                                                                         \
    X("ms", 1000000ll)                                                                             \
    X("s", NS_PER_SECOND)                                                                          \
    X("m", 60 * NS_PER_SECOND)                                                                     \
    X("h", 3600 * NS_PER_SECOND)                                                                   \
    X("d", SECONDS_PER_DAY *NS_PER_SECOND)

static int64_t take_unit(const char **at)
{
    static const struct {
        const char *word;
        int64_t ns;
    } units[] = {
#define TIMESPEC_UNIT_ROW(word, ns) {word, ns},
        TIMESPEC_UNIT_TABLE(TIMESPEC_UNIT_ROW)
#undef TIMESPEC_UNIT_ROW
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t bytes = strlen(units[i].word);
        if (strncmp(*at, units[i].word, bytes) == 0) {
            *at += bytes;
            return units[i].ns;
        }
    }
    return -1;
}

/* One or more of number and unit, e.g. "1h30m"; 1 when all of text is that. */
static int parse_duration(const char *text, int64_t *ns)
{
    const char *at = text;
    *ns = 0;
    if (strcmp(text, "0") == 0)
        return 1;
    do {
        int64_t whole = take_whole(&at), fraction = 0, part;
        if (whole < 0 || (fraction = take_fraction(&at)) < 0)
            return 0;
        int64_t unit = take_unit(&at);
        if (unit < 0 || __builtin_mul_overflow(whole, unit, &part))
            return 0;
        int64_t rest = (int64_t)((__int128)fraction * unit / NS_PER_SECOND);
        if (__builtin_add_overflow(part, rest, &part) || __builtin_add_overflow(*ns, part, ns))
            return 0;
    } while (*at != '\0');
    return 1;
}

int tape_timespec_parse_duration(const char *text, int64_t *ns, struct tape_error *error)
{
    if (parse_duration(text, ns))
        return 0;
    return tape_error_set(
        error, TAPE_USAGE,
        "\"%.100s\" is not a duration: write a number and a unit, as in 90s, 1h30m, "
        "250ms or 60us",
        text);
}

static int refuse(const char *text, struct tape_error *error)
{
    return tape_error_set(
        error, TAPE_USAGE,
        "\"%.100s\" is not a time: write 2026-11-22T08:00Z, ns since 1970, @seconds, "
        "now, +10m after the start or -10m before the end",
        text);
}

static int parse_number(const char *text, struct tape_timespec *time, struct tape_error *error)
{
    size_t digits = strspn(text, "0123456789");
    const char *at = text;
    if (text[digits] != '\0')
        return refuse(text, error);
    if (digits > 0 && digits < NS_DIGITS_MIN)
        return tape_error_set(
            error, TAPE_USAGE,
            "\"%.100s\" has %zu digits: a plain number is nanoseconds since 1970, "
            "which have 19; seconds are written @1795334400",
            text, digits);
    time->ns = take_whole(&at);
    return time->ns < 0 ? refuse(text, error) : 0;
}

static int parse_seconds(const char *text, struct tape_timespec *time, struct tape_error *error)
{
    const char *at = text + 1;
    int64_t fraction, seconds = take_whole(&at);
    if (seconds < 0 || (fraction = take_fraction(&at)) < 0 || *at != '\0' ||
        __builtin_mul_overflow(seconds, NS_PER_SECOND, &time->ns) ||
        __builtin_add_overflow(time->ns, fraction, &time->ns))
        return refuse(text, error);
    return 0;
}

int tape_timespec_parse(const char *text, struct tape_timespec *time, struct tape_error *error)
{
    struct timespec now;
    time->base = TAPE_TIMESPEC_EPOCH;
    if (strcmp(text, "now") == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        time->ns = now.tv_sec * NS_PER_SECOND + now.tv_nsec;
        return 0;
    }
    if (text[0] == '@')
        return parse_seconds(text, time, error);
    if (text[0] == '+' || text[0] == '-') {
        time->base = text[0] == '+' ? TAPE_TIMESPEC_START : TAPE_TIMESPEC_END;
        return parse_duration(text + 1, &time->ns) ? 0 : refuse(text, error);
    }
    if (parse_date(text, &time->ns))
        return 0;
    return parse_number(text, time, error);
}

int64_t tape_timespec_resolve(const struct tape_timespec *time, int64_t first_ns, int64_t last_ns)
{
    int64_t ns = time->ns;
    if (time->base == TAPE_TIMESPEC_START && __builtin_add_overflow(first_ns, time->ns, &ns))
        ns = INT64_MAX;
    if (time->base == TAPE_TIMESPEC_END && __builtin_sub_overflow(last_ns, time->ns, &ns))
        ns = INT64_MIN;
    return ns;
}

/* Writes ${digits} digits ending before to + digits. */
static void put_digits(char *to, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
}

size_t tape_timespec_format(char to[TAPE_TIMESPEC_TEXT_BYTES], int64_t ns)
{
    int64_t seconds = ns / NS_PER_SECOND, rest = ns % NS_PER_SECOND;
    if (rest < 0) {
        rest += NS_PER_SECOND;
        seconds--;
    }
    int64_t days = seconds / SECONDS_PER_DAY, of_day = seconds % SECONDS_PER_DAY, year;
    int month, day;
    if (of_day < 0) {
        of_day += SECONDS_PER_DAY;
        days--;
    }
    date_of_days(days, &year, &month, &day);
    memcpy(to, "yyyy-mm-ddThh:mm:ss.nnnnnnnnnZ", TAPE_TIMESPEC_TEXT_BYTES);
    put_digits(to, year, 4);
    put_digits(to + 5, month, 2);
    put_digits(to + 8, day, 2);
    put_digits(to + 11, of_day / 3600, 2);
    put_digits(to + 14, of_day / 60 % 60, 2);
    put_digits(to + 17, of_day % 60, 2);
    put_digits(to + 20, rest, 9);
    return TAPE_TIMESPEC_TEXT_BYTES - 1;
}

size_t tape_timespec_format_duration(char to[TAPE_TIMESPEC_DURATION_TEXT_BYTES], int64_t ns)
{
    const char *sign = ns < 0 ? "-" : "";
    uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, seconds = value / 1000000000;
    size_t room = TAPE_TIMESPEC_DURATION_TEXT_BYTES;
    int bytes;
    if (value < 1000)
        bytes = snprintf(to, room, "%s%" PRIu64 " ns", sign, value);
    else if (value < 1000000)
        bytes = snprintf(to, room, "%s%.1f µs", sign, (double)value / 1e3);
    else if (value < 1000000000)
        bytes = snprintf(to, room, "%s%.1f ms", sign, (double)value / 1e6);
    else if (seconds < 60)
        bytes = snprintf(to, room, "%s%.3f s", sign, (double)value / 1e9);
    else if (seconds < 3600)
        bytes =
            snprintf(to, room, "%s%" PRIu64 " m %02" PRIu64 " s", sign, seconds / 60, seconds % 60);
    else if (seconds < 86400)
        bytes = snprintf(to, room, "%s%" PRIu64 " h %02" PRIu64 " m %02" PRIu64 " s", sign,
                         seconds / 3600, seconds / 60 % 60, seconds % 60);
    else
        bytes = snprintf(to, room, "%s%" PRIu64 " d %02" PRIu64 " h", sign, seconds / 86400,
                         seconds / 3600 % 24);
    return (size_t)bytes;
}
