-- index.db: what an archive holds, derived from its segments by folding their records in order.
-- Deleting it loses nothing. Times are INTEGER ns since 1970-01-01T00:00:00Z; `day` is yyyymmdd
-- (UTC) of the row's first time, so that views need no date functions; NULL is "not known" or "not
-- yet". Only columns of the types INTEGER and TEXT, no WITHOUT ROWID, no triggers, no virtual
-- tables: other engines (DuckDB) read the file and parse the views in their own dialect. Hence no
-- integer division, no CAST and no USING in views either.

-- archive_id, format_version; next_ordinal: the first record that is not folded in yet;
-- resume_ordinal: reading must begin here to meet the start of every message that was unfinished
-- at next_ordinal; last_ns: of the last record; pruned_ordinal: records before it were pruned, and
-- nothing here is about one of them alone (0: none were).
CREATE TABLE meta(
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- One run of a recorder. end_reason 'died': no session_end was written; ended_ns is then that of
-- its last record.
CREATE TABLE session(
    session_id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    end_reason TEXT,
    version TEXT,
    host TEXT,
    pid INTEGER,
    command TEXT,
    recovered_records INTEGER,
    torn_bytes INTEGER
) STRICT;

-- A connection or an attempt at one. resolve_ns … upgrade_ns are durations. messages and bytes
-- count data messages and their payloads; records counts everything. opened_ns NULL: it failed
-- before it delivered. first_ordinal … closed_ordinal are the records that began, opened and ended
-- it.
CREATE TABLE connection(
    connection_id INTEGER PRIMARY KEY,
    session_id INTEGER,
    day INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    first_ordinal INTEGER NOT NULL,
    opened_ordinal INTEGER,
    closed_ordinal INTEGER,
    venue TEXT,
    url TEXT,
    peer TEXT,
    tls TEXT,
    cipher TEXT,
    certificate_sha256 TEXT,
    resolve_ns INTEGER,
    connect_ns INTEGER,
    tls_ns INTEGER,
    upgrade_ns INTEGER,
    opened_ns INTEGER,
    first_message_ns INTEGER,
    last_ns INTEGER,
    records INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    closed_ns INTEGER,
    closed_by TEXT,
    cause TEXT,
    close_code INTEGER,
    close_reason TEXT,
    errno INTEGER,
    detail TEXT
) STRICT;

-- loss_detectable 0: the venue's numbers of this stream skip by themselves (or there are none), so
-- that nobody can say whether something is missing. duplicates: messages whose number had been seen.
-- breaks: times the numbers did not follow. open_gap: the gap that the next message will end. All of
-- it over all records that ever were; pruned_messages and pruned_bytes of them are not there any more.
CREATE TABLE stream(
    stream_id INTEGER PRIMARY KEY,
    venue TEXT NOT NULL,
    name TEXT NOT NULL,
    symbol TEXT NOT NULL,
    channel TEXT NOT NULL,
    sequence_rule TEXT NOT NULL,
    loss_detectable INTEGER NOT NULL,
    first_ns INTEGER,
    last_ns INTEGER,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    last_sequence INTEGER,
    duplicates INTEGER NOT NULL,
    breaks INTEGER NOT NULL,
    open_gap INTEGER,
    pruned_messages INTEGER NOT NULL DEFAULT 0,
    pruned_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE(venue, name)
) STRICT;

-- What a connection was asked for and what it delivered. asked_ns NULL: it came without being asked
-- for. status: asked, acknowledged, refused, live (first message seen), silent (acknowledged, and
-- nothing came within the venue's time).
CREATE TABLE subscription(
    subscription_id INTEGER PRIMARY KEY,
    connection_id INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    request INTEGER,
    asked_ns INTEGER,
    acknowledged_ns INTEGER,
    first_ns INTEGER,
    status TEXT NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX subscription_connection ON subscription(connection_id);

-- segment_id is its sequence. sealed, file_bytes and created_ns are the file's, the rest is summed
-- over its blocks. file_bytes NULL: not sealed, it may still grow. resume_ordinal: reading must begin
-- here to meet the start of every message that was unfinished at its first record.
CREATE TABLE segment(
    segment_id INTEGER PRIMARY KEY,
    name TEXT,
    state TEXT,
    sealed INTEGER,
    created_ns INTEGER,
    file_bytes INTEGER,
    damaged_places INTEGER,
    day INTEGER,
    blocks INTEGER NOT NULL DEFAULT 0,
    records INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    payload_bytes INTEGER NOT NULL DEFAULT 0,
    raw_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    first_ordinal INTEGER,
    next_ordinal INTEGER,
    resume_ordinal INTEGER,
    first_ns INTEGER,
    last_ns INTEGER
) STRICT;

-- block_id is the ordinal of its first record. first_ns and last_ns are the smallest and largest.
CREATE TABLE block(
    block_id INTEGER PRIMARY KEY,
    segment_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    crc32c INTEGER NOT NULL,
    records INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    realtime_minus_monotonic_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX block_first ON block(first_ns);

-- One stream's messages in one block on one day. first_ordinal is that of the record that ended the
-- first of them. first_ns and last_ns are the smallest and largest. lat_* is receive time − the
-- venue's event time over the lat_n messages that name one.
CREATE TABLE block_stream(
    first_ordinal INTEGER PRIMARY KEY,
    block_id INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    first_sequence INTEGER,
    last_sequence INTEGER,
    lat_n INTEGER NOT NULL,
    lat_min_ns INTEGER,
    lat_sum_ns INTEGER,
    lat_p50_ns INTEGER,
    lat_p99_ns INTEGER,
    lat_max_ns INTEGER
) STRICT;
CREATE INDEX block_stream_time ON block_stream(stream_id, first_ns);

-- What is not there, or may not be. stream_id NULL: it concerns all of a connection or of the
-- archive. from_id and to_id are the venue's numbers around it (kind damaged: ordinals, to_id is the
-- first that is there again). missing: messages (damaged: records) known to be lost; NULL: nobody
-- can say. to_ns NULL: nothing came since.
--   disconnect     a connection ended and no other one delivered the stream
--   recorder       the recorder ended or died
--   sequence       the numbers of a live connection do not follow
--   not_delivered  acknowledged, and nothing came
--   stall          a stream fell silent, or the recorder stopped reading for a while (missing 0)
--   dropped        received and not kept (disk full)
--   damaged        stored and not readable any more
--   clock          the clock stepped: times before and after do not compare
CREATE TABLE gap(
    gap_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    stream_id INTEGER,
    connection_id INTEGER,
    day INTEGER NOT NULL,
    from_ns INTEGER NOT NULL,
    to_ns INTEGER,
    from_id INTEGER,
    to_id INTEGER,
    missing INTEGER,
    cause TEXT
) STRICT;

-- Samples of the kernel clock's state; synchronised 0: STA_UNSYNC was set.
CREATE TABLE clock(
    ordinal INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    ns INTEGER NOT NULL,
    monotonic_ns INTEGER,
    state INTEGER,
    status INTEGER,
    synchronised INTEGER,
    offset_ns INTEGER,
    maxerror_ns INTEGER,
    esterror_ns INTEGER,
    step_ns INTEGER
) STRICT;

-- Kernel stamp to user space. The quantiles are the upper ends of the histogram's bins; counts[i]
-- frames took [2^i, 2^(i+1)) ns.
CREATE TABLE delay(
    ordinal INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    from_ns INTEGER NOT NULL,
    to_ns INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    p50_ns INTEGER,
    p99_ns INTEGER,
    max_ns INTEGER,
    counts TEXT
) STRICT;

-- Every event record but clock and delay; detail is its body (its first 4096 bytes).
CREATE TABLE event(
    ordinal INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    ns INTEGER NOT NULL,
    level TEXT NOT NULL,
    kind TEXT NOT NULL,
    session_id INTEGER,
    connection_id INTEGER,
    stream_id INTEGER,
    detail TEXT
) STRICT;

-- Segments that were deleted on purpose, from the notes that were written before: ordinal is the
-- note's, ns when. The segment held records [first_ordinal, next_ordinal) of first_ns to last_ns;
-- file_bytes were given back; rule says what asked for it: 'age', 'bytes' or 'free'. A file that
-- stands all the same (a crash between the note and the deletion) goes with the next pruning.
CREATE TABLE pruned(
    segment_id INTEGER PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    day INTEGER NOT NULL,
    ns INTEGER NOT NULL,
    name TEXT,
    first_ordinal INTEGER,
    next_ordinal INTEGER,
    first_ns INTEGER,
    last_ns INTEGER,
    records INTEGER,
    messages INTEGER,
    file_bytes INTEGER,
    rule TEXT
) STRICT;

-- Views. Each has `day` (yyyymmdd) and `ts` (seconds, REAL).

-- One row a day and stream: what is there and what is not. missing NULL where loss is
-- 'undetectable' or where a gap's size is not known.
CREATE VIEW v_coverage AS
SELECT c.day AS day, c.first_ns * 1e-9 AS ts, s.venue AS venue, s.name AS stream,
    s.symbol AS symbol, s.channel AS channel, c.messages AS messages, c.bytes AS bytes,
    c.first_ns AS first_ns, c.last_ns AS last_ns,
    (c.last_ns - c.first_ns) * 1e-9 AS span_seconds,
    coalesce(g.gaps, 0) AS gaps,
    coalesce(g.lost_seconds, 0.0) AS lost_seconds,
    CASE WHEN s.loss_detectable = 0 THEN NULL
        WHEN coalesce(g.unknown, 0) > 0 THEN NULL
        ELSE coalesce(g.missing, 0) END AS missing,
    CASE WHEN s.loss_detectable = 0 THEN 'undetectable'
        WHEN coalesce(g.gaps, 0) = 0 THEN 'none'
        WHEN g.unknown = 0 AND g.missing = 0 THEN 'none'
        ELSE 'some' END AS loss
FROM (SELECT stream_id, day, sum(messages) AS messages, sum(bytes) AS bytes,
        min(first_ns) AS first_ns, max(last_ns) AS last_ns
    FROM block_stream GROUP BY stream_id, day) AS c
JOIN stream AS s ON s.stream_id = c.stream_id
LEFT JOIN (SELECT stream_id, day, count(*) AS gaps, sum(missing) AS missing,
        sum(CASE WHEN missing IS NULL THEN 1 ELSE 0 END) AS unknown,
        sum(CASE WHEN to_ns > from_ns THEN (to_ns - from_ns) * 1e-9 ELSE 0.0 END) AS lost_seconds
    FROM gap WHERE stream_id IS NOT NULL AND to_ns IS NOT NULL AND kind <> 'stall'
    GROUP BY stream_id, day) AS g
    ON g.stream_id = c.stream_id AND g.day = c.day;

CREATE VIEW v_gap AS
SELECT g.day AS day, g.from_ns * 1e-9 AS ts, g.gap_id AS gap_id, g.kind AS kind,
    s.venue AS venue, s.name AS stream, g.connection_id AS connection_id, g.from_ns AS from_ns,
    g.to_ns AS to_ns,
    CASE WHEN g.to_ns IS NULL THEN NULL
        WHEN g.to_ns > g.from_ns THEN (g.to_ns - g.from_ns) * 1e-9
        ELSE 0.0 END AS seconds,
    CASE WHEN g.to_ns IS NULL THEN 'open' ELSE 'closed' END AS state,
    g.from_id AS from_id, g.to_id AS to_id, g.missing AS missing,
    CASE WHEN g.missing IS NOT NULL AND g.missing > 0 THEN 'some'
        WHEN g.missing = 0 THEN 'none'
        WHEN s.loss_detectable = 0 THEN 'undetectable'
        ELSE 'unknown' END AS loss,
    g.cause AS cause
FROM gap AS g LEFT JOIN stream AS s ON s.stream_id = g.stream_id;

-- One row a block and stream that has event times.
CREATE VIEW v_latency AS
SELECT b.day AS day, b.first_ns * 1e-9 AS ts, s.venue AS venue, s.name AS stream,
    s.symbol AS symbol, s.channel AS channel, b.lat_n AS messages, b.lat_min_ns AS min_ns,
    b.lat_sum_ns * 1.0 / b.lat_n AS mean_ns, b.lat_p50_ns AS p50_ns, b.lat_p99_ns AS p99_ns,
    b.lat_max_ns AS max_ns, b.block_id AS block_id
FROM block_stream AS b JOIN stream AS s ON s.stream_id = b.stream_id WHERE b.lat_n > 0;

CREATE VIEW v_connection AS
SELECT c.day AS day, c.first_ns * 1e-9 AS ts, c.connection_id AS connection_id,
    c.session_id AS session_id, c.venue AS venue, c.url AS url, c.peer AS peer, c.tls AS tls,
    c.opened_ns AS opened_ns, c.closed_ns AS closed_ns,
    (c.closed_ns - c.opened_ns) * 1e-9 AS seconds,
    c.messages AS messages, c.bytes AS bytes,
    CASE WHEN c.closed_ns IS NULL THEN 'open' WHEN c.opened_ns IS NULL THEN 'failed'
        ELSE 'closed' END AS state,
    c.cause AS cause, c.closed_by AS closed_by, c.close_code AS close_code,
    c.close_reason AS close_reason, c.detail AS detail, s.version AS version, s.host AS host
FROM connection AS c LEFT JOIN session AS s ON s.session_id = c.session_id;

CREATE VIEW v_storage AS
SELECT s.day AS day, s.first_ns * 1e-9 AS ts, s.segment_id AS segment_id, s.name AS name,
    s.state AS state, s.sealed AS sealed, s.blocks AS blocks, s.records AS records,
    s.messages AS messages, s.payload_bytes AS payload_bytes, s.raw_bytes AS raw_bytes,
    s.stored_bytes AS stored_bytes, s.file_bytes AS file_bytes,
    CASE WHEN s.stored_bytes > 0 THEN s.raw_bytes * 1.0 / s.stored_bytes END AS ratio,
    s.first_ns AS first_ns, s.last_ns AS last_ns
FROM segment AS s;

CREATE VIEW v_subscription AS
SELECT u.day AS day, coalesce(u.asked_ns, u.first_ns) * 1e-9 AS ts, s.venue AS venue,
    s.name AS stream, u.connection_id AS connection_id, u.status AS status, u.error AS error,
    u.asked_ns AS asked_ns, u.acknowledged_ns AS acknowledged_ns, u.first_ns AS first_ns,
    (u.acknowledged_ns - u.asked_ns) * 1e-9 AS acknowledged_seconds,
    (u.first_ns - u.asked_ns) * 1e-9 AS first_seconds
FROM subscription AS u JOIN stream AS s ON s.stream_id = u.stream_id;
