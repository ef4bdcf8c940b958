-- A ledger of version 1 with four calls, as `iterdump` writes it.
BEGIN TRANSACTION;
CREATE TABLE daily (
	day TEXT NOT NULL, 
	agent TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	model TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	unpriced_requests BIGINT NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	characters BIGINT NOT NULL, 
	audio_seconds FLOAT NOT NULL, 
	connection_seconds FLOAT NOT NULL, 
	cost_usd FLOAT NOT NULL, 
	PRIMARY KEY (day, agent, stage, provider, model)
);
INSERT INTO "daily" VALUES('2026-11-18','support','stt','deepgram','nova-3',3,0,0,0,0,15.0,0.0,1.20000000000000011171e-03);
INSERT INTO "daily" VALUES('2026-11-18','support','llm','openai','gpt-4.1-mini',2,0,2000,200,0,0.0,0.0,0.00112);
INSERT INTO "daily" VALUES('2026-11-18','support','tts','cartesia','sonic-3',1,0,0,0,400,2.5,0.0,0.02);
INSERT INTO "daily" VALUES('2026-11-19','support','llm','openai','gpt-4.1-mini',2,0,2000,200,0,0.0,0.0,0.00112);
INSERT INTO "daily" VALUES('2026-11-19','support','tts','cartesia','sonic-3',1,0,0,0,40,2.5,0.0,0.002);
INSERT INTO "daily" VALUES('2026-11-18','support','llm','openai','no-such-model',1,1,1000,100,0,0.0,0.0,0.0);
CREATE TABLE failures (
	id INTEGER NOT NULL, 
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
INSERT INTO "failures" VALUES(1,'s3',1795000061.0,'sales',NULL,'llm','openai','gpt-4.1-mini',1,'Timeout');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('version','1');
CREATE TABLE positions (
	journal TEXT NOT NULL, 
	committed BIGINT NOT NULL, 
	discarding BOOLEAN NOT NULL, 
	finished_at FLOAT, 
	PRIMARY KEY (journal)
);
INSERT INTO "positions" VALUES('j1-7f2de1945a10.jsonl',2761,0,1.79565341507444739335e+09);
INSERT INTO "positions" VALUES('j2-7f2de1945a10.jsonl',930,0,1.79565341509634661667e+09);
INSERT INTO "positions" VALUES('j3-7f2de1945a10.jsonl',510,0,1.79565341511316204073e+09);
INSERT INTO "positions" VALUES('open-aa.jsonl',908,0,NULL);
CREATE TABLE series (
	family TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	counts TEXT, 
	touched_at FLOAT NOT NULL, 
	PRIMARY KEY (family, labels)
);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "session_started"}',4.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "usage"}',10.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "turn_committed"}',2.0,NULL,1.79565341508062171942e+09);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "message"}',7.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "session_closed"}',2.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions','{"agent": "support"}',3.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_turns','{"agent": "support"}',3.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_turns_interrupted','{"agent": "support"}',1.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_latency_seconds','{"agent": "support"}',2.7,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_callback_seconds','{"agent": "support"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_session_seconds','{"agent": "support"}',86413.0,'[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_session_cost_usd','{"agent": "support"}',2.44800000000000017585e-02,'[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_cost_usd','{"agent": "support"}',2.352000000000000271e-02,'[1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "user_initiated"}',1.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "participant_disconnected"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "task_completed"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "job_shutdown"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "error"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "support", "reason": "lost"}',1.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',1.20000000000000011171e-03,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.00224,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.022,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',3.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',4.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',2.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_audio_seconds','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',15.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_audio_seconds','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',5.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "support", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests_cancelled','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests_cancelled','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_llm_ttft_seconds','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai"}',1.6,'[0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_request_seconds','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',4.4,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_request_seconds','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',1.8,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "support", "kind": "input", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',4000.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "support", "kind": "cached_input", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "support", "kind": "output", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',400.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "reason": "interrupted", "stage": "llm"}',1.20000000000000016592e-04,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai", "reason": "speculative", "stage": "llm"}',0.00056,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "reason": "interrupted", "stage": "tts"}',0.015,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "reason": "speculative", "stage": "tts"}',0.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_characters','{"agent": "support", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',440.0,NULL,1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_tts_ttfb_seconds','{"agent": "support", "model": "sonic-3", "provider": "cartesia"}',0.4,'[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_eou_delay_seconds','{"agent": "support", "model": "multilingual", "provider": "livekit"}',0.6,'[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341508062171942e+09);
INSERT INTO "series" VALUES('livekit_agent_transcription_delay_seconds','{"agent": "support", "model": "nova-3", "provider": "deepgram"}',0.6,'[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341508062171942e+09);
INSERT INTO "series" VALUES('livekit_agent_output_tokens_per_second','{"agent": "support", "model": "gpt-4.1-mini", "provider": "openai"}',320.0,'[0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "support", "model": "no-such-model", "provider": "openai", "stage": "llm"}',1.0,NULL,1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "support", "model": "no-such-model", "provider": "openai", "stage": "llm"}',1.0,NULL,1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_llm_ttft_seconds','{"agent": "support", "model": "no-such-model", "provider": "openai"}',0.4,'[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_request_seconds','{"agent": "support", "model": "no-such-model", "provider": "openai", "stage": "llm"}',1.1,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "support", "kind": "input", "modality": "text", "model": "no-such-model", "provider": "openai", "stage": "llm"}',1000.0,NULL,1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "support", "kind": "output", "modality": "text", "model": "no-such-model", "provider": "openai", "stage": "llm"}',100.0,NULL,1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_agent_output_tokens_per_second','{"agent": "support", "model": "no-such-model", "provider": "openai"}',80.0,'[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]',1.79565341509824514393e+09);
INSERT INTO "series" VALUES('livekit_exporter_ledger_commit_seconds','{}',3.09735799999089067569e-02,'[0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341512031269072e+09);
INSERT INTO "series" VALUES('livekit_exporter_records','{"kind": "request_failed"}',1.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions','{"agent": "sales"}',1.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_turns','{"agent": "sales"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_turns_interrupted','{"agent": "sales"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_latency_seconds','{"agent": "sales"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_callback_seconds','{"agent": "sales"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_session_seconds','{"agent": "sales"}',2.0,'[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_session_cost_usd','{"agent": "sales"}',0.0,'[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_turn_cost_usd','{"agent": "sales"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "user_initiated"}',1.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "participant_disconnected"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "task_completed"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "job_shutdown"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "error"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_sessions_closed','{"agent": "sales", "reason": "lost"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_cost_usd','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',1.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_requests','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',1.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_request_errors','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_unpriced_requests','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_audio_seconds','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_audio_seconds','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "sales", "model": "nova-3", "provider": "deepgram", "stage": "stt"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_fallbacks','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_requests_cancelled','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_requests_cancelled','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_llm_ttft_seconds','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_request_seconds','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_request_seconds','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "sales", "kind": "input", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "sales", "kind": "cached_input", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_tokens','{"agent": "sales", "kind": "output", "modality": "text", "model": "gpt-4.1-mini", "provider": "openai", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "reason": "interrupted", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "sales", "model": "gpt-4.1-mini", "provider": "openai", "reason": "speculative", "stage": "llm"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "reason": "interrupted", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_wasted_cost_usd','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "reason": "speculative", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_characters','{"agent": "sales", "model": "sonic-3", "provider": "cartesia", "stage": "tts"}',0.0,NULL,1.79565341511468958861e+09);
INSERT INTO "series" VALUES('livekit_agent_tts_ttfb_seconds','{"agent": "sales", "model": "sonic-3", "provider": "cartesia"}',0.0,'[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]',1.79565341511468958861e+09);
CREATE TABLE sessions (
	session TEXT NOT NULL, 
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
	turns INTEGER NOT NULL, 
	interrupted INTEGER NOT NULL, 
	unpriced_requests INTEGER NOT NULL, 
	cost_usd FLOAT NOT NULL, 
	wasted_usd FLOAT NOT NULL, 
	unassigned_usd FLOAT NOT NULL, 
	PRIMARY KEY (session)
);
INSERT INTO "sessions" VALUES('s1','j1-7f2de1945a10.jsonl','support','u-42','{"tenant": "acme", "tier": "gold"}','room-1','job-1','abababababababababababababababab','','','',1795000000.0,1795086409.0,1795086409.0,'user_initiated','',1,0,'speech-2','deepgram','nova-3',2,1,0,0.02408,0.01568,0.0);
INSERT INTO "sessions" VALUES('s2','j2-7f2de1945a10.jsonl','support',NULL,'{}',NULL,NULL,NULL,'','','',1795000050.0,1795000054.0,1795000054.0,'lost','',1,0,'speech-1','deepgram','nova-3',1,0,1,0.0004,0.0,0.0004);
INSERT INTO "sessions" VALUES('s3','j3-7f2de1945a10.jsonl','sales',NULL,'{}',NULL,NULL,NULL,'','','',1795000060.0,1795000062.0,1795000062.0,'user_initiated','',1,0,NULL,'deepgram','nova-3',0,0,0,0.0,0.0,0.0);
INSERT INTO "sessions" VALUES('s4','open-aa.jsonl','support',NULL,'{"tenant": "acme", "tier": "gold"}','room-1','job-1','abababababababababababababababab','','','',1795000070.0,1795000072.0,NULL,NULL,'',0,1,NULL,'deepgram','nova-3',0,0,0,9.599999999999999159e-04,0.0,0.0004);
CREATE TABLE turns (
	session TEXT NOT NULL, 
	speech TEXT NOT NULL, 
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
	tool_calls INTEGER NOT NULL, 
	characters INTEGER NOT NULL, 
	cost_usd FLOAT NOT NULL, 
	wasted_usd FLOAT NOT NULL, 
	PRIMARY KEY (session, speech)
);
INSERT INTO "turns" VALUES('s1','speech-1',1795000001.0,NULL,0.3,0.3,NULL,0.4,0.2,0.9,0,1,1,1,1,0,100,2.09600000000000029343e-02,0.01512);
INSERT INTO "turns" VALUES('s1','speech-2',1795086400.0,NULL,0.3,0.3,NULL,0.4,0.2,0.9,0,1,1,1,0,0,40,2.55999999999999977573e-03,0.0);
INSERT INTO "turns" VALUES('s1','thrown-away',1795086403.0,NULL,NULL,NULL,NULL,0.4,NULL,NULL,0,0,0,0,0,0,0,0.00056,0.00056);
INSERT INTO "turns" VALUES('s2','speech-1',1795000052.0,NULL,NULL,NULL,NULL,0.4,NULL,0.9,0,0,1,1,0,0,40,0.0,0.0);
INSERT INTO "turns" VALUES('s4','speech-1',1795000072.0,NULL,NULL,NULL,NULL,0.4,NULL,NULL,0,0,0,0,0,0,0,0.00056,0.0);
CREATE TABLE usage (
	id INTEGER NOT NULL, 
	session TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	agent TEXT NOT NULL, 
	speech TEXT, 
	persona TEXT, 
	stage TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	model TEXT NOT NULL, 
	reported_provider TEXT NOT NULL, 
	label TEXT NOT NULL, 
	request TEXT NOT NULL, 
	requests INTEGER NOT NULL, 
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
	status TEXT NOT NULL, 
	cost_usd FLOAT, 
	output_usd FLOAT NOT NULL, 
	price TEXT, 
	prices_version TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "usage" VALUES(1,'s1',1795000001.0,'support',NULL,NULL,'stt','deepgram','nova-3','Deepgram','','',1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,5.0,0.0,NULL,NULL,'priced',0.0004,0.0,'deepgram/nova-3','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(2,'s1',1795000002.0,'support','speech-1',NULL,'llm','openai','gpt-4.1-mini','api.openai.com','','',1,0,0,0,1000,0,0,100,1100,0,0,0,0,0,0,0,0.0,0.0,0.4,1.1,'priced',0.00056,0.00016,'openai/gpt-4.1-mini','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(3,'s1',1795000002.0,'support','speech-1',NULL,'tts','cartesia','sonic-3','Cartesia','','',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,400,2.5,0.0,0.2,0.9,'priced',0.02,0.0,'cartesia/sonic','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(4,'s1',1795086401.0,'support','speech-2',NULL,'llm','openai','gpt-4.1-mini','api.openai.com','','',1,0,0,0,1000,0,0,100,1100,0,0,0,0,0,0,0,0.0,0.0,0.4,1.1,'priced',0.00056,0.00016,'openai/gpt-4.1-mini','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(5,'s1',1795086401.0,'support','speech-2',NULL,'tts','cartesia','sonic-3','Cartesia','','',1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,40,2.5,0.0,0.2,0.9,'priced',0.002,0.0,'cartesia/sonic','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(6,'s1',1795086403.0,'support','thrown-away',NULL,'llm','openai','gpt-4.1-mini','api.openai.com','','',1,0,0,0,1000,0,0,100,1100,0,0,0,0,0,0,0,0.0,0.0,0.4,1.1,'priced',0.00056,0.00016,'openai/gpt-4.1-mini','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(7,'s2',1795000052.0,'support','speech-1',NULL,'llm','openai','no-such-model','api.openai.com','','',1,0,0,0,1000,0,0,100,1100,0,0,0,0,0,0,0,0.0,0.0,0.4,1.1,'unpriced',NULL,0.0,NULL,'2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(8,'s2',1795000054.0,'support',NULL,NULL,'stt','deepgram','nova-3','Deepgram','','',1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,5.0,0.0,NULL,NULL,'priced',0.0004,0.0,'deepgram/nova-3','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(9,'s4',1795000071.0,'support',NULL,NULL,'stt','deepgram','nova-3','Deepgram','','',1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,5.0,0.0,NULL,NULL,'priced',0.0004,0.0,'deepgram/nova-3','2026-11-09+0b4c157a');
INSERT INTO "usage" VALUES(10,'s4',1795000072.0,'support','speech-1',NULL,'llm','openai','gpt-4.1-mini','api.openai.com','','',1,0,0,0,1000,0,0,100,1100,0,0,0,0,0,0,0,0.0,0.0,0.4,1.1,'priced',0.00056,0.00016,'openai/gpt-4.1-mini','2026-11-09+0b4c157a');
CREATE INDEX sessions_started ON sessions (started_at);
CREATE INDEX sessions_open ON sessions (ended, session);
CREATE INDEX usage_at ON usage (at, agent, cost_usd);
CREATE INDEX usage_session ON usage (session);
CREATE INDEX failures_session ON failures (session);
COMMIT;
