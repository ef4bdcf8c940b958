-- Tables of a ledger of version 2, as the first released program creates them.
CREATE TABLE daily (
    day TEXT NOT NULL,
    instance TEXT NOT NULL,
    agent TEXT NOT NULL,
    stage TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    requests BIGINT NOT NULL,
    cancelled_requests BIGINT NOT NULL,
    unpriced_requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    characters BIGINT NOT NULL,
    audio_seconds FLOAT NOT NULL,
    connection_seconds FLOAT NOT NULL,
    cost_usd FLOAT NOT NULL,
    wasted_usd FLOAT NOT NULL,
    PRIMARY KEY (day, instance, agent, stage, provider, model, source)
);
CREATE TABLE daily_users (
    day TEXT NOT NULL,
    instance TEXT NOT NULL,
    "key" TEXT NOT NULL,
    agent TEXT NOT NULL,
    user TEXT,
    labels TEXT NOT NULL,
    source TEXT NOT NULL,
    sessions BIGINT NOT NULL,
    session_seconds FLOAT NOT NULL,
    turns BIGINT NOT NULL,
    unpriced_requests BIGINT NOT NULL,
    cost_usd FLOAT NOT NULL,
    wasted_usd FLOAT NOT NULL,
    PRIMARY KEY (day, instance, "key")
);
CREATE INDEX daily_users_user ON daily_users (user, day);
CREATE TABLE deliveries (
    session TEXT NOT NULL,
    instance TEXT NOT NULL,
    revision BIGINT NOT NULL,
    state TEXT NOT NULL,
    made_at FLOAT NOT NULL,
    next_attempt_at FLOAT NOT NULL,
    attempts BIGINT NOT NULL,
    refusals BIGINT NOT NULL,
    first_attempt_at FLOAT,
    last_attempt_at FLOAT,
    status BIGINT,
    error TEXT NOT NULL,
    delivered_at FLOAT,
    PRIMARY KEY (session, instance)
);
CREATE INDEX deliveries_pending ON deliveries (instance, next_attempt_at) WHERE state = 'pending';
CREATE TABLE failures (
    id INTEGER NOT NULL,
    instance TEXT NOT NULL,
    session TEXT NOT NULL,
    at FLOAT NOT NULL,
    agent TEXT NOT NULL,
    persona TEXT,
    stage TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    recoverable BOOLEAN NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX failures_session ON failures (session);
CREATE TABLE instances (
    instance TEXT NOT NULL,
    commits BIGINT NOT NULL,
    committed_at FLOAT NOT NULL,
    kept_from FLOAT NOT NULL,
    repriced BIGINT NOT NULL,
    PRIMARY KEY (instance)
);
CREATE TABLE ledger_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT ledger_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE positions (
    instance TEXT NOT NULL,
    journal TEXT NOT NULL,
    committed BIGINT NOT NULL,
    discarding BOOLEAN NOT NULL,
    finished_at FLOAT,
    PRIMARY KEY (instance, journal)
);
CREATE TABLE repricings (
    repricing BIGINT NOT NULL,
    stage TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    at FLOAT NOT NULL,
    since FLOAT NOT NULL,
    until FLOAT NOT NULL,
    prices_version TEXT NOT NULL,
    changed BIGINT NOT NULL,
    old_usd FLOAT NOT NULL,
    new_usd FLOAT NOT NULL,
    old_unpriced_requests BIGINT NOT NULL,
    new_unpriced_requests BIGINT NOT NULL,
    PRIMARY KEY (repricing, stage, provider, model, source)
);
CREATE TABLE series (
    instance TEXT NOT NULL,
    "key" TEXT NOT NULL,
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    value FLOAT NOT NULL,
    counts TEXT,
    touched_at FLOAT NOT NULL,
    PRIMARY KEY (instance, "key")
);
CREATE TABLE sessions (
    session TEXT NOT NULL,
    instance TEXT NOT NULL,
    journal TEXT NOT NULL,
    agent TEXT NOT NULL,
    user TEXT,
    labels TEXT NOT NULL,
    room TEXT,
    job TEXT,
    trace TEXT,
    host TEXT NOT NULL,
    sdk TEXT NOT NULL,
    exporter TEXT NOT NULL,
    started_at FLOAT NOT NULL,
    last_at FLOAT NOT NULL,
    closed_at FLOAT,
    reason TEXT,
    error TEXT NOT NULL,
    ended BOOLEAN NOT NULL,
    waiting BOOLEAN NOT NULL,
    answered TEXT,
    stt_provider TEXT,
    stt_model TEXT,
    turns BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    unpriced_requests BIGINT NOT NULL,
    cost_usd FLOAT NOT NULL,
    wasted_usd FLOAT NOT NULL,
    unassigned_usd FLOAT NOT NULL,
    exported_at FLOAT,
    PRIMARY KEY (session, instance)
);
CREATE INDEX sessions_open ON sessions (instance) WHERE ended IS 0;
CREATE INDEX sessions_started ON sessions (started_at);
CREATE INDEX sessions_to_export ON sessions (instance) WHERE ended IS 1 AND exported_at IS NULL;
CREATE INDEX sessions_user ON sessions (user, started_at);
CREATE TABLE sizes (
    instance TEXT NOT NULL,
    stage TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt_characters BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    answering_seconds FLOAT NOT NULL,
    answered_tokens BIGINT NOT NULL,
    written_characters BIGINT NOT NULL,
    written_tokens BIGINT NOT NULL,
    begun BIGINT NOT NULL,
    first_seconds FLOAT NOT NULL,
    text_characters BIGINT NOT NULL,
    spoken_characters BIGINT NOT NULL,
    PRIMARY KEY (instance, stage, provider, model)
);
CREATE TABLE turns (
    session TEXT NOT NULL,
    speech TEXT NOT NULL,
    instance TEXT NOT NULL,
    at FLOAT NOT NULL,
    persona TEXT,
    eou_delay_seconds FLOAT,
    transcription_delay_seconds FLOAT,
    callback_seconds FLOAT,
    first_token_seconds FLOAT,
    first_byte_seconds FLOAT,
    latency_seconds FLOAT,
    derived BOOLEAN NOT NULL,
    committed BOOLEAN NOT NULL,
    spoken BOOLEAN NOT NULL,
    answered BOOLEAN NOT NULL,
    interrupted BOOLEAN NOT NULL,
    tool_calls BIGINT NOT NULL,
    characters BIGINT NOT NULL,
    spoken_seconds FLOAT,
    cost_usd FLOAT NOT NULL,
    wasted_usd FLOAT NOT NULL,
    PRIMARY KEY (session, speech, instance)
);
CREATE INDEX turns_at ON turns (at);
CREATE TABLE usage (
    id INTEGER NOT NULL,
    instance TEXT NOT NULL,
    session TEXT NOT NULL,
    at FLOAT NOT NULL,
    agent TEXT NOT NULL,
    user TEXT,
    labels TEXT NOT NULL,
    speech TEXT,
    turn TEXT,
    persona TEXT,
    stage TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    reported_provider TEXT NOT NULL,
    label TEXT NOT NULL,
    request TEXT NOT NULL,
    requests BIGINT NOT NULL,
    cancelled BOOLEAN NOT NULL,
    streamed BOOLEAN NOT NULL,
    connection BOOLEAN NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens BIGINT NOT NULL,
    input_audio_tokens BIGINT NOT NULL,
    input_image_tokens BIGINT NOT NULL,
    cached_audio_tokens BIGINT NOT NULL,
    cached_image_tokens BIGINT NOT NULL,
    output_audio_tokens BIGINT NOT NULL,
    output_image_tokens BIGINT NOT NULL,
    characters BIGINT NOT NULL,
    audio_seconds FLOAT NOT NULL,
    connection_seconds FLOAT NOT NULL,
    first_seconds FLOAT,
    request_seconds FLOAT,
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    cost_usd FLOAT,
    output_usd FLOAT NOT NULL,
    price TEXT,
    prices_version TEXT NOT NULL,
    waste_reason TEXT,
    wasted_usd FLOAT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX usage_at ON usage (at);
CREATE INDEX usage_session ON usage (session);
