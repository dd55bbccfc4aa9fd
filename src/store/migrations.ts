/**
 * Every change of the store's layout, oldest first. A migration that was released is never edited: a store that ran it
 * would differ from one that runs it today. `version` is kept in `PRAGMA user_version`.
 */

/** One step forward, run in one transaction. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
}

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'microvms, images, keys and objects',
    statements: [
      `CREATE TABLE microvms (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         microvm_id TEXT NOT NULL UNIQUE,
         endpoint_id TEXT NOT NULL UNIQUE,
         state TEXT NOT NULL,
         state_reason TEXT,
         image_name TEXT NOT NULL,
         image_arn TEXT NOT NULL,
         image_version TEXT NOT NULL,
         snapshot_id TEXT NOT NULL,
         baseline_mib INTEGER NOT NULL CHECK (baseline_mib > 0),
         execution_role_arn TEXT,
         idle_policy TEXT,
         maximum_duration_seconds INTEGER NOT NULL,
         ingress_connectors TEXT NOT NULL,
         egress_connectors TEXT NOT NULL,
         logging TEXT,
         run_hook_payload TEXT,
         client_token TEXT UNIQUE,
         started_at_ms INTEGER NOT NULL,
         suspended_at_ms INTEGER,
         terminated_at_ms INTEGER,
         generation INTEGER NOT NULL CHECK (generation BETWEEN 0 AND last_generation),
         last_generation INTEGER NOT NULL,
         process TEXT
       ) STRICT`,
      // Every index ends in the rowid (seq), so one on a filter also gives the order of the listing.
      'CREATE INDEX microvms_by_image ON microvms (image_arn)',
      'CREATE INDEX microvms_by_image_and_version ON microvms (image_arn, image_version)',
      'CREATE INDEX microvms_by_version ON microvms (image_version)',
      'CREATE INDEX microvms_by_image_and_state ON microvms (image_name, state)',
      'CREATE INDEX microvms_by_state ON microvms (state, baseline_mib)',
      `CREATE TABLE images (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         id TEXT NOT NULL UNIQUE,
         name TEXT NOT NULL UNIQUE,
         image_arn TEXT NOT NULL,
         state TEXT NOT NULL,
         created_at_ms INTEGER NOT NULL,
         updated_at_ms INTEGER NOT NULL,
         latest_active_version TEXT,
         latest_failed_version TEXT,
         tags TEXT NOT NULL,
         client_token TEXT UNIQUE,
         versions_made INTEGER NOT NULL
       ) STRICT`,
      'CREATE INDEX images_by_state ON images (state)',
      `CREATE TABLE image_versions (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         image_name TEXT NOT NULL REFERENCES images (name) ON DELETE CASCADE,
         version TEXT NOT NULL,
         snapshot_id TEXT NOT NULL UNIQUE,
         state TEXT NOT NULL,
         status TEXT NOT NULL,
         config TEXT NOT NULL,
         created_at_ms INTEGER NOT NULL,
         updated_at_ms INTEGER NOT NULL,
         build TEXT NOT NULL,
         client_token TEXT UNIQUE,
         request_fingerprint TEXT,
         UNIQUE (image_name, version)
       ) STRICT`,
      'CREATE INDEX image_versions_by_image ON image_versions (image_name)',
      'CREATE INDEX image_versions_usable ON image_versions (image_name, state, status)',
      'CREATE INDEX image_versions_by_state ON image_versions (state)',
      `CREATE TABLE access_keys (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         access_key_id TEXT NOT NULL UNIQUE,
         secret_access_key TEXT NOT NULL,
         created_at_ms INTEGER NOT NULL
       ) STRICT`,
      `CREATE TABLE token_keys (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         kid TEXT NOT NULL UNIQUE,
         key BLOB NOT NULL CHECK (length(key) = 32),
         created_at_ms INTEGER NOT NULL
       ) STRICT`,
      `CREATE TABLE buckets (
         bucket TEXT PRIMARY KEY,
         created_at_ms INTEGER NOT NULL
       ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE objects (
         bucket TEXT NOT NULL REFERENCES buckets (bucket),
         key TEXT NOT NULL,
         blob_id TEXT NOT NULL UNIQUE,
         size INTEGER NOT NULL,
         etag TEXT NOT NULL,
         content_type TEXT NOT NULL,
         metadata TEXT NOT NULL,
         checksums TEXT NOT NULL,
         modified_at_ms INTEGER NOT NULL,
         PRIMARY KEY (bucket, key)
       ) STRICT, WITHOUT ROWID`,
    ],
  },
  {
    version: 2,
    name: 'temporary access keys',
    statements: [
      'ALTER TABLE access_keys ADD COLUMN description TEXT',
      'ALTER TABLE access_keys ADD COLUMN session TEXT',
      'ALTER TABLE access_keys ADD COLUMN session_microvm_id TEXT',
      'ALTER TABLE access_keys ADD COLUMN session_expires_at_ms INTEGER',
      'CREATE INDEX access_keys_by_microvm ON access_keys (session_microvm_id)',
      'CREATE INDEX access_keys_by_expiry ON access_keys (session_expires_at_ms)',
    ],
  },
  {
    version: 3,
    name: 'roles',
    statements: [
      `CREATE TABLE roles (
         role_name TEXT PRIMARY KEY COLLATE NOCASE,
         role_id TEXT NOT NULL UNIQUE,
         path TEXT NOT NULL,
         description TEXT,
         max_session_seconds INTEGER NOT NULL,
         created_at_ms INTEGER NOT NULL,
         trust_policy TEXT NOT NULL,
         inline_policies TEXT NOT NULL,
         attached_policies TEXT NOT NULL,
         tags TEXT NOT NULL
       ) STRICT, WITHOUT ROWID`,
      // What `lull build` names, and one to run with: section 1.11 has what AWS asks of their trust.
      ...[
        ['build', 'AROALULLROLEFORBUILDS', 'Builds of images.'],
        ['run', 'AROALULLROLEFORTORUNS', 'MicroVMs that run.'],
      ].map(
        ([name, id, description]) => `INSERT INTO roles VALUES ('${name}', '${id}', '/', '${description}', 3600, unixepoch() * 1000,
         '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}',
         '{}', '[]', '{}')`,
      ),
    ],
  },
  {
    version: 4,
    name: 'network connectors',
    statements: [
      `CREATE TABLE connectors (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         connector_id TEXT NOT NULL UNIQUE,
         arn TEXT NOT NULL,
         name TEXT NOT NULL UNIQUE,
         state TEXT NOT NULL,
         state_reason TEXT NOT NULL,
         configuration TEXT NOT NULL,
         operator_role TEXT NOT NULL,
         version INTEGER NOT NULL CHECK (version > 0),
         last_update TEXT,
         modified_at_ms INTEGER NOT NULL,
         tags TEXT NOT NULL,
         client_token TEXT NOT NULL UNIQUE,
         request_fingerprint TEXT NOT NULL
       ) STRICT`,
      'CREATE INDEX connectors_by_state ON connectors (state)',
      // An image has one egress connector at most.
      "CREATE INDEX image_versions_by_connector ON image_versions (json_extract(config, '$.egressConnectors[0]'))",
    ],
  },
  {
    version: 5,
    name: 'multipart uploads, and what else an object keeps',
    statements: [
      'ALTER TABLE buckets ADD COLUMN public_access_block TEXT',
      "ALTER TABLE objects ADD COLUMN system_metadata TEXT NOT NULL DEFAULT '{}'",
      "ALTER TABLE objects ADD COLUMN checksum_type TEXT NOT NULL DEFAULT 'FULL_OBJECT'",
      'ALTER TABLE objects ADD COLUMN multipart TEXT',
      `CREATE TABLE uploads (
         bucket TEXT NOT NULL REFERENCES buckets (bucket) ON DELETE CASCADE,
         key TEXT NOT NULL,
         upload_id TEXT NOT NULL UNIQUE,
         content_type TEXT NOT NULL,
         system_metadata TEXT NOT NULL,
         metadata TEXT NOT NULL,
         checksum TEXT,
         started_at_ms INTEGER NOT NULL,
         PRIMARY KEY (bucket, key, upload_id)
       ) STRICT, WITHOUT ROWID`,
      'CREATE INDEX uploads_by_start ON uploads (started_at_ms)',
      `CREATE TABLE parts (
         upload_id TEXT NOT NULL REFERENCES uploads (upload_id) ON DELETE CASCADE,
         part_number INTEGER NOT NULL CHECK (part_number BETWEEN 1 AND 10000),
         blob_id TEXT NOT NULL UNIQUE,
         size INTEGER NOT NULL,
         etag TEXT NOT NULL,
         checksums TEXT NOT NULL,
         modified_at_ms INTEGER NOT NULL,
         PRIMARY KEY (upload_id, part_number)
       ) STRICT, WITHOUT ROWID`,
    ],
  },
  {
    version: 6,
    name: 'log groups and streams',
    statements: [
      `CREATE TABLE log_groups (
         name TEXT PRIMARY KEY,
         created_at_ms INTEGER NOT NULL,
         retention_days INTEGER
       ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE log_streams (
         seq INTEGER PRIMARY KEY AUTOINCREMENT,
         group_name TEXT REFERENCES log_groups (name),
         name TEXT NOT NULL,
         source TEXT NOT NULL,
         source_id TEXT NOT NULL,
         created_at_ms INTEGER NOT NULL,
         first_event_at_ms INTEGER,
         last_event_at_ms INTEGER NOT NULL,
         stored_bytes INTEGER NOT NULL DEFAULT 0,
         has_ended INTEGER NOT NULL DEFAULT 0,
         UNIQUE (source, source_id),
         UNIQUE (group_name, name)
       ) STRICT`,
      'CREATE INDEX log_streams_by_last_event ON log_streams (group_name, last_event_at_ms)',
      'CREATE INDEX log_streams_by_end ON log_streams (has_ended, last_event_at_ms)',
      // The log of a build is a file of its version.
      `CREATE TRIGGER image_versions_take_their_streams AFTER DELETE ON image_versions BEGIN
         DELETE FROM log_streams WHERE source = 'build' AND source_id = OLD.snapshot_id;
       END`,
      // What was there before; a stream's own name was not in use then.
      `INSERT OR IGNORE INTO log_groups (name, created_at_ms)
         SELECT COALESCE(json_extract(logging, '$.cloudWatch.logGroup'), '/aws/lambda-microvms/' || image_name), started_at_ms
         FROM microvms WHERE logging IS NULL OR json_type(logging, '$.disabled') IS NULL`,
      `INSERT INTO log_streams (group_name, name, source, source_id, created_at_ms, last_event_at_ms)
         SELECT CASE WHEN json_type(logging, '$.disabled') IS NULL
           THEN COALESCE(json_extract(logging, '$.cloudWatch.logGroup'), '/aws/lambda-microvms/' || image_name) END,
           strftime('%Y/%m/%d', started_at_ms / 1000, 'unixepoch') || '[' || image_version || ']' || microvm_id,
           'microvm', microvm_id, started_at_ms, started_at_ms
         FROM microvms`,
      `INSERT OR IGNORE INTO log_groups (name, created_at_ms)
         SELECT COALESCE(json_extract(config, '$.logging.cloudWatch.logGroup'), '/aws/lambda-microvms/' || image_name), created_at_ms
         FROM image_versions WHERE json_type(config, '$.logging.disabled') IS NULL`,
      `INSERT INTO log_streams (group_name, name, source, source_id, created_at_ms, last_event_at_ms)
         SELECT CASE WHEN json_type(config, '$.logging.disabled') IS NULL
           THEN COALESCE(json_extract(config, '$.logging.cloudWatch.logGroup'), '/aws/lambda-microvms/' || image_name) END,
           strftime('%Y/%m/%d', created_at_ms / 1000, 'unixepoch') || '[' || version || ']build-' || json_extract(build, '$.buildId'),
           'build', snapshot_id, created_at_ms, created_at_ms
         FROM image_versions`,
    ],
  },
  {
    version: 7,
    name: 'allocated memory',
    statements: [
      // Every launch asks for the sum: kept by state, it costs the same over any number of microVMs.
      'CREATE TABLE allocated_memory (state TEXT PRIMARY KEY, mib INTEGER NOT NULL) STRICT, WITHOUT ROWID',
      'INSERT INTO allocated_memory SELECT state, sum(baseline_mib) FROM microvms GROUP BY state',
      `CREATE TRIGGER allocated_memory_of_new AFTER INSERT ON microvms BEGIN
         INSERT INTO allocated_memory VALUES (new.state, new.baseline_mib) ON CONFLICT DO UPDATE SET mib = mib + excluded.mib;
       END`,
      `CREATE TRIGGER allocated_memory_of_changed AFTER UPDATE OF state, baseline_mib ON microvms BEGIN
         UPDATE allocated_memory SET mib = mib - old.baseline_mib WHERE state = old.state;
         INSERT INTO allocated_memory VALUES (new.state, new.baseline_mib) ON CONFLICT DO UPDATE SET mib = mib + excluded.mib;
       END`,
      `CREATE TRIGGER allocated_memory_of_removed AFTER DELETE ON microvms BEGIN
         UPDATE allocated_memory SET mib = mib - old.baseline_mib WHERE state = old.state;
       END`,
    ],
  },
  {
    version: 8,
    name: 'what microVMs were asked with, and who rests on which snapshot',
    statements: [
      'ALTER TABLE microvms ADD COLUMN request_fingerprint TEXT',
      'CREATE INDEX microvms_by_snapshot ON microvms (snapshot_id, state)',
    ],
  },
  {
    version: 9,
    name: 'client tokens of images are those of their versions',
    // The column stays, empty: SQLite drops no column that is UNIQUE.
    statements: ['UPDATE images SET client_token = NULL'],
  },
  {
    version: 10,
    name: 'versions hold the code that they were made from',
    statements: [
      // Null in versions from before: what their objects are by now nobody knows.
      'ALTER TABLE image_versions ADD COLUMN artifact_blob_id TEXT',
      'CREATE INDEX image_versions_by_artifact ON image_versions (artifact_blob_id) WHERE artifact_blob_id IS NOT NULL',
    ],
  },
];
