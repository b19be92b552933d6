/*
 * RFC 6455 as bytes: what a strict client receives, one line a case. The groups are numbered as the
 * well-known public suites number them; 20 and up are what those leave out.
 */
#ifndef TAPE_TESTS_UNIT_WS_TABLE_H
#define TAPE_TESTS_UNIT_WS_TABLE_H

/*
 * wire: hex bytes; "61*125" repeats a byte; a quoted word stands for its characters.
 * frames: the frames that come whole before the fault or the end: an opcode letter (c T B C P O),
 *         "-" when more fragments follow, and the payload's length.
 * fault:  a name of TAPE_WS_FAULT_TABLE.
 * at:     how many bytes of the wire show the fault; 0 for "all of them".
 */
struct ws_case {
    const char *name, *wire, *frames;
    int fault;
    unsigned at;
};

#define F(name) TAPE_WS_FAULT_##name

static const struct ws_case ws_table[] = {
    /* 1: the three forms of length and their edges */
    {"1.1.1 text of 0", "8100", "T0", F(NONE), 0},
    {"1.1.2 text of 125", "817d 2a*125", "T125", F(NONE), 0},
    {"1.1.3 text of 126", "817e007e 2a*126", "T126", F(NONE), 0},
    {"1.1.4 text of 127", "817e007f 2a*127", "T127", F(NONE), 0},
    {"1.1.5 text of 128", "817e0080 2a*128", "T128", F(NONE), 0},
    {"1.1.6 text of 65535", "817effff 2a*65535", "T65535", F(NONE), 0},
    {"1.1.7 text of 65536", "817f0000000000010000 2a*65536", "T65536", F(NONE), 0},
    {"1.2.1 binary of 0", "8200", "B0", F(NONE), 0},
    {"1.2.2 binary of 125", "827d fe*125", "B125", F(NONE), 0},
    {"1.2.3 binary of 126", "827e007e fe*126", "B126", F(NONE), 0},
    {"1.2.4 binary of 127", "827e007f fe*127", "B127", F(NONE), 0},
    {"1.2.5 binary of 128", "827e0080 fe*128", "B128", F(NONE), 0},
    {"1.2.6 binary of 65535", "827effff fe*65535", "B65535", F(NONE), 0},
    {"1.2.7 binary of 65536", "827f0000000000010000 fe*65536", "B65536", F(NONE), 0},
    /* 2: pings and pongs */
    {"2.1 empty ping", "8900", "P0", F(NONE), 0},
    {"2.2 ping with text", "8905 'Hello'", "P5", F(NONE), 0},
    {"2.3 ping with bytes", "8908 00fffefdfcfb00ff", "P8", F(NONE), 0},
    {"2.4 ping of 125", "897d fe*125", "P125", F(NONE), 0},
    {"2.5 ping of 126", "897e007e fe*126", "", F(CONTROL_LENGTH), 2},
    {"2.7 unsolicited empty pong", "8a00", "O0", F(NONE), 0},
    {"2.8 unsolicited pong", "8a02 'hi'", "O2", F(NONE), 0},
    {"2.9 pong, then ping", "8a02 'hi' 8903 'abc'", "O2 P3", F(NONE), 0},
    {"2.10 ten pings", "890130 890131 890132 890133 890134 890135 890136 890137 890138 890139",
     "P1 P1 P1 P1 P1 P1 P1 P1 P1 P1", F(NONE), 0},
    {"2.12 pong of 126", "8a7e007e fe*126", "", F(CONTROL_LENGTH), 2},
    {"2.13 ping of the 64-bit form", "897f0000000000000001 fe", "", F(CONTROL_LENGTH), 2},
    /* 3: reserved bits; every combination of them is in a test of its own */
    {"3.1 RSV3 on a text", "9105 'Hello'", "", F(RESERVED_BITS), 1},
    {"3.2 good, then RSV2, then ping", "8105 'Hello' a105 'Hello' 8900", "T5", F(RESERVED_BITS), 8},
    {"3.5 RSV1 on a binary", "c205 'Hello'", "", F(RESERVED_BITS), 1},
    {"3.6 RSV on a ping", "d905 'Hello'", "", F(RESERVED_BITS), 1},
    {"3.7 RSV on a close", "f800", "", F(RESERVED_BITS), 1},
    {"3.8 RSV on a continuation", "0101 'a' d001 'b'", "T-1", F(RESERVED_BITS), 4},
    {"3.9 RSV and a reserved opcode", "f300", "", F(RESERVED_BITS), 1},
    /* 4: reserved opcodes; every one is in a test of its own */
    {"4.1.1 opcode 3", "8300", "", F(RESERVED_OPCODE), 1},
    {"4.1.2 opcode 4 with a payload", "8401 'x'", "", F(RESERVED_OPCODE), 1},
    {"4.1.3 good, then opcode 5, then ping", "8101 'a' 8500 8900", "T1", F(RESERVED_OPCODE), 4},
    {"4.2.1 opcode 11", "8b00", "", F(RESERVED_OPCODE), 1},
    {"4.2.3 good, then opcode 13", "8101 'a' 8d00", "T1", F(RESERVED_OPCODE), 4},
    {"4.2.6 opcode 15 as a fragment", "0f00", "", F(RESERVED_OPCODE), 1},
    {"4.2.7 opcode 7 inside a message", "0101 'a' 8700", "T-1", F(RESERVED_OPCODE), 4},
    /* 5: fragments */
    {"5.1 ping in two fragments", "0902 'ab' 8002 'cd'", "", F(CONTROL_FRAGMENT), 1},
    {"5.2 pong in two fragments", "0a02 'ab' 8002 'cd'", "", F(CONTROL_FRAGMENT), 1},
    {"5.2b close as a fragment", "0800", "", F(CONTROL_FRAGMENT), 1},
    {"5.3 text in two fragments", "0103 'Hel' 8002 'lo'", "T-3 c2", F(NONE), 0},
    {"5.6 ping between fragments", "0103 'Hel' 8901 'p' 8002 'lo'", "T-3 P1 c2", F(NONE), 0},
    {"5.9 nothing to continue, FIN", "8003 'abc' 8101 'x'", "", F(CONTINUATION), 1},
    {"5.12 nothing to continue, no FIN", "0003 'abc' 8101 'x'", "", F(CONTINUATION), 1},
    {"5.15 continuation after a message", "0101 'a' 8001 'b' 0001 'c' 8101 'd'", "T-1 c1",
     F(CONTINUATION), 7},
    {"5.16 continuation before a message", "0001 'a' 8101 'b' 8001 'c'", "", F(CONTINUATION), 1},
    {"5.17 the same with FIN", "8001 'a' 8101 'b' 8001 'c'", "", F(CONTINUATION), 1},
    {"5.18 text inside a text", "0103 'abc' 8103 'def'", "T-3", F(INTERLEAVED), 6},
    {"5.18b binary inside a text", "0103 'abc' 0203 'def'", "T-3", F(INTERLEAVED), 6},
    {"5.18c text inside a binary", "0203 'abc' 8103 'def'", "B-3", F(INTERLEAVED), 6},
    {"5.19 five fragments, two pings",
     "0101 'a' 0001 'b' 8901 '1' 0001 'c' 8901 '2' 0001 'd' "
     "8001 'e'",
     "T-1 c-1 P1 c-1 P1 c-1 c1", F(NONE), 0},
    {"5.20 fragments, then a message", "0101 'a' 8001 'b' 8101 'c'", "T-1 c1 T1", F(NONE), 0},
    /* 6: text; the table of UTF-8 runs through here, too */
    {"6.1.2 three empty fragments", "0100 0000 8000", "T-0 c-0 c0", F(NONE), 0},
    {"6.1.3 empty, data, empty", "0100 0003 'abc' 8000", "T-0 c-3 c0", F(NONE), 0},
    {"6.2.1 valid, whole", "8108 'a' c3a4 e282ac 'bc'", "T8", F(NONE), 0},
    {"6.2.2 split between code points", "0103 'a' c3a4 8003 e282ac", "T-3 c3", F(NONE), 0},
    {"6.2.3 split inside code points", "0102 'a' c3 0002 a4e2 0001 82 8001 ac", "T-2 c-2 c-1 c1",
     F(NONE), 0},
    {"6.2.4 ping inside a code point", "0101 e2 8902 ffff 8002 82ac", "T-1 P2 c2", F(NONE), 0},
    {"6.3.1 invalid, whole", "8106 'ab' eda080 'c'", "", F(UTF8), 6},
    {"6.3.2 invalid in a fragment", "0102 'ab' 0003 eda080 8001 'c'", "T-2", F(UTF8), 8},
    {"6.3.3 invalid over a fragment's edge", "0103 'ab' ed 8004 a080 'cd'", "T-3", F(UTF8), 8},
    {"6.4.1 fault before the rest comes", "010c ceba e1bdb9 cf83 cebc ceb5 f4 0001 90 8001 'x'",
     "T-12", F(UTF8), 17},
    {"6.4.3 fault inside a long frame", "817e0100 'abc' ff 2a*252", "", F(UTF8), 8},
    {"6.4.5 cut at the end", "8102 'a' c3", "", F(UTF8), 4},
    {"6.4.6 cut at the end of the last fragment", "0101 e2 8001 82", "T-1", F(UTF8), 6},
    {"6.4.7 cut by an empty last fragment", "0101 e2 8000", "T-1", F(UTF8), 5},
    {"6.4.8 a binary message may be anything", "0202 ffc3 8001 ed", "B-2 c1", F(NONE), 0},
    {"6.4.9 a cut message leaves nothing to the next", "0201 c3 8000 8101 'a' 0101 'b' 8002 c3a4",
     "B-1 c0 T1 T-1 c2", F(NONE), 0},
    /* 7: closing */
    {"7.1.1 message, close", "8101 'a' 8802 03e8", "T1 C2", F(NONE), 0},
    {"7.1.2 two closes", "8802 03e8 8802 03e8", "C2 C2", F(NONE), 0},
    {"7.1.3 ping after close", "8802 03e8 8900", "C2 P0", F(NONE), 0},
    {"7.1.4 text after close", "8802 03e8 8101 'a'", "C2 T1", F(NONE), 0},
    {"7.1.5 close inside a message, then its rest", "0101 'a' 8802 03e8 8001 'b'", "T-1 C2 c1",
     F(NONE), 0},
    {"7.1.6 long text, close, ping", "817f0000000000040000 2a*262144 8802 03e8 8900",
     "T262144 C2 P0", F(NONE), 0},
    {"7.1.7 what follows a close may break the rules", "8800 8000 8103 ffffff 8801 00 8202 c3c3",
     "C0 c0 T3 C1 B2", F(NONE), 0},
    {"7.3.1 close of 0", "8800", "C0", F(NONE), 0},
    {"7.3.2 close of 1", "8801 'a'", "", F(CLOSE_LENGTH), 2},
    {"7.3.3 close of 2", "8802 03e8", "C2", F(NONE), 0},
    {"7.3.4 close with a reason", "8807 03e8 'Hello'", "C7", F(NONE), 0},
    {"7.3.5 close of 125", "887d 03e8 2a*123", "C125", F(NONE), 0},
    {"7.3.6 close of 126", "887e007e 03e8 2a*124", "", F(CONTROL_LENGTH), 2},
    {"7.5.1 reason not UTF-8", "8806 03e8 'a' ff 'bc'", "", F(CLOSE_UTF8), 6},
    {"7.5.2 reason cut", "8804 03e8 e282", "", F(CLOSE_UTF8), 6},
    {"7.5.3 reason in other scripts", "8807 03e8 e282ac c3a4", "C7", F(NONE), 0},
    {"7.7.1 close 4999", "8802 1387", "C2", F(NONE), 0},
    {"7.9.1 close 0", "8802 0000", "", F(CLOSE_CODE), 4},
    {"7.9.4 close 1005", "8807 03ed 'Hello'", "", F(CLOSE_CODE), 4},
    {"7.13.1 close 5000", "8802 1388", "", F(CLOSE_CODE), 4},
    {"7.13.2 close 65535", "8802 ffff", "", F(CLOSE_CODE), 4},
    /* 20: what the suites leave out */
    {"20.1 text masked by a server", "8185 37fa213d 7f9f4d5158", "", F(MASK), 2},
    {"20.2 close masked by a server", "8880 00000000", "", F(MASK), 2},
    {"20.3 16-bit form of 125", "817e007d 2a*125", "", F(LENGTH_FORM), 4},
    {"20.4 16-bit form of 0", "827e0000", "", F(LENGTH_FORM), 4},
    {"20.5 64-bit form of 65535", "817f000000000000ffff", "", F(LENGTH_FORM), 8},
    {"20.6 64-bit form of 0", "827f0000000000000000", "", F(LENGTH_FORM), 8},
    {"20.7 top bit", "827f8000000000000000", "", F(LENGTH_TOP_BIT), 3},
    {"20.8 all ones", "827fffffffffffffffff", "", F(LENGTH_TOP_BIT), 3},
    {"20.9 2^63 - 1", "827f7fffffffffffffff", "", F(TOO_BIG), 10},
    {"20.10 one above the limit", "827f0000000001000001", "", F(TOO_BIG), 10},
    {"20.11 a fragment of 2^63 - 1 after one of 1", "0201 'a' 807f7fffffffffffffff", "B-1",
     F(TOO_BIG), 13},
    {"20.12 fragments above the limit together", "0201 'a' 007f0000000001000000", "B-1", F(TOO_BIG),
     13},
    {"20.13 a wrong mask is seen before the length", "89fe", "", F(MASK), 2},
    {"20.14 fragmented text, whole text, same ASCII",
     "0101 'a' 8001 'b' 8102 'cd' 0101 'e' 8900 "
     "8001 'f' 8103 'ghi'",
     "T-1 c1 T2 T-1 P0 c1 T3", F(NONE), 0},
};

#undef F

enum { WS_CASES = sizeof ws_table / sizeof *ws_table };

#endif
