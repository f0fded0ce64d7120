"""Every bound of the engine, in one place."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds with their defaults. Sizes are bytes, times are seconds unless a name says otherwise."""

    max_message_size: int = 64 * MIB
    """Largest websocket frame taken from a client; above it the socket closes with 1009."""
    max_awareness_size: int = 64 * KIB
    """Largest awareness state of one client."""
    max_clients_per_awareness_frame: int = 512
    max_structs_per_update: int = 4_000_000
    """An update that claims more structs than this is refused before it is read."""
    max_values_per_update: int = 4_000_000
    """JSON-like values in one update, those inside of others included."""
    max_value_depth: int = 120
    """Containers inside one another in one JSON-like value. pycrdt dies of some tens of thousands,
    serde refuses JSON above 127."""
    max_parked_ranges: int = 10_000
    """Clock ranges per client id that are kept in mind while those before them are missing."""
    max_client_ids_per_connection: int = 64
    """How many new Yjs client ids one connection may bring into a document."""

    loading_queue_frames: int = 256
    """Frames kept per connection while its document loads; one more closes the connection."""
    loading_queue_bytes: int = 64 * MIB
    open_timeout: float = 30.0
    """How long server code waits for a document to open."""
    outbox_bytes: int = 8 * MIB
    """Backlog of one connection; above it frames are dropped and the client is resynced later."""
    max_connections_per_room: int = 500
    idle_timeout: float = 90.0
    """A socket that answers no ping for this long is closed."""
    ping_interval: float = 30.0

    append_batch_updates: int = 200
    append_batch_bytes: int = 4 * MIB
    pending_window_bytes: int = 256 * MIB
    """Updates not yet in Redis, or not yet on this disk; above it they are replaced by one update of the
    same content (rule 27)."""
    journal_gather: float = 0.05
    """How long edits are gathered before they go to the journal on this server's disk; it is what an
    acknowledgement takes at least."""
    journal_patience: float = 2.0
    """How long acknowledgements wait for this server's own disk while the store has the update."""
    journal_retry_first: float = 0.2
    journal_retry_most: float = 5.0
    """After this server's own disk refused."""
    copy_write_factor: int = 16
    """A snapshot on this disk may be this many times as big as what changed since the last one."""
    recent_chain_values: int = 512
    """Chain values of the newest log entries that a room remembers to notice a rolled-back log."""
    gapped_updates: int = 1_000
    """Updates with missing predecessors that a room keeps for those who join meanwhile."""
    append_timeout: float = 5.0
    append_retry_first: float = 0.05
    append_retry_most: float = 2.0
    provisional_patience: float = 3.0
    """How long a store that is away is asked again before a document that is unknown here is opened without
    knowing whether it has another history there (rule 9)."""

    compact_entries: int = 500
    compact_bytes: int = 1 * MIB
    compact_keep: float = 60.0
    """How long compacted log entries are kept for readers that lag behind."""
    compact_timeout: float = 120.0
    """How long one node may take to fold a log before another may try."""
    snapshot_chunk: int = 4 * MIB
    log_page: int = 1 * MIB
    """Log entries are read in pages of about this size, so that Redis serves others in between."""
    recovery_window: float = 10.0
    """How long no document is founded from its file after a shared Redis lost everything, was started again
    or taken over, so that servers that know more can say so (rule 8)."""
    ended_keep: float = 30 * 24 * 3600.0
    """How long the store keeps a document whose file was deleted."""
    redis_connections: int = 32
    """Connections to Redis for commands; one more command waits for one to be free."""
    channel_heartbeat: float = 5.0
    """A channel connection that hears nothing for this long asks whether it still lives."""
    channel_retry_first: float = 0.05
    channel_retry_most: float = 2.0
    channel_inline: int = 32 * KIB
    """Updates up to this size travel on the channel between nodes; of larger ones only their number."""
    sweep_interval: float = 5.0
    """How often a room compares its place in the log with Redis."""

    save_delay: float = 1.0
    """Seconds from the last edit to a checkpoint."""
    save_ceiling: float = 5.0
    """Seconds from the first unsaved edit to a checkpoint, however much is typed."""
    save_retry_first: float = 1.0
    save_retry_most: float = 5.0
    file_poll_interval: float = 1.0
    """How often an open document's file is looked at for changes by other programs."""
    file_linger: float = 2.0
    """How long a replaced file's inode is watched for late writers (rule 16)."""
    late_writes: int = 16
    """Late writes of one document that wait to be merged; one more is kept beside the file."""
    bases_kept: int = 16
    """Merge bases of a document's last contents that a node remembers, for late writers."""
    torn_patience: float = 4.0
    """How long a file that can't be read must stay as it is before it counts as broken, not as being
    written."""
    torn_most: float = 30.0
    """How long a file may change without ever being readable before it counts as broken."""
    torn_poll: float = 0.5
    text_view_idle: float = 1.0
    """How long nobody may have typed in a text view of a notebook before its text is taken."""
    shrink_share: float = 0.5
    """If another program leaves less than this of a document's cells or bytes, its content is kept first."""
    shrink_cells: int = 4
    """Documents with fewer cells are not guarded by their number."""
    shrink_bytes: int = 4 * KIB
    """Smaller documents are not guarded by their size."""
    file_threads: int = 8
    """Threads for reading and writing files; while all wait for a file system that hangs, files wait."""
    files_searched: int = 20_000
    """Files and folders looked at to find one that another program moved; beyond it it counts as deleted."""
    gone_patience: float = 3.0
    """How long a file must be gone before it counts as deleted: some programs save by making it anew."""
    files_lingering: int = 64
    """Replaced files watched at once; one more and the oldest is looked at early."""
    cells_remembered: int = 5_000
    """Ids of cells that a document ever had, so that a file does not bring deleted ones back (rule 28);
    one more and the oldest is forgotten."""
    codec_timeout: float = 120.0
    """Longest call of the codec's worker process; above it the worker is ended and the call fails."""
    cleanup_delay: float = 60.0
    """Seconds a room stays open after its last person left."""
    cleanup_retry: float = 1.0
    """How long a room that still has to store or save something waits before it looks again."""

    presence_ttl: float = 12.0
    """People of another server that was not heard of for this long are gone."""
    presence_announce_interval: float = 4.0
    awareness_delay: float = 0.05
    """How long awareness is gathered before it goes to other nodes."""
    gap_patience: float = 0.05
    """How long a missing log entry may be on its way before the store is asked for it."""
    gap_save_patience: float = 4.0
    """How long the file waits for missing updates before it is written as people see the document."""
    repairs: int = 30
    """How often missing updates are asked for before the document counts as whole without them."""
    decode_inline: int = 2 * MIB
    """Stored updates up to this size are read for missing predecessors when a document is loaded."""
    repair_interval: float = 2.0
    """At most one request for missing updates in this time."""

    embedded_start: float = 30.0
    """How long the embedded Valkey may be silent when it starts or is adopted."""
    embedded_load: float = 300.0
    """How long it may read its append-only file."""
    embedded_watch: float = 0.1
    """The pause before a Valkey that ended again and again is started again."""
    lease_ttl: float = 10.0
    lease_margin: float = 1.0
    """A file is not written in the last part of a lease."""
    lease_wait: float = 1.0
    """How often a node that may not write a file looks whether it holds what people typed here."""
    lease_grace: float = 1.0
    """Seconds more than a lease lasts for which none is granted after the store may have forgotten some."""
    shutdown_timeout: float = 20.0

    version_interval: float = 600.0
    """A document that is being edited gets a restore point this often."""
    versions_kept: int = 100
    """Versions of one document; above it the one goes that is least missed."""
    versions_bytes: int = 256 * MIB
    """Bytes of the contents of one document's versions, before compression; the newest always stays."""
    version_dense: float = 3600.0
    """All versions younger than this stay."""
    version_day: float = 24 * 3600.0
    """Younger than this, one version for each ``version_spacing_day`` stays."""
    version_spacing_day: float = 600.0
    version_spacing: float = 24 * 3600.0
    """Older ones: one for each such time, until ``version_age``."""
    version_age: float = 30 * 24 * 3600.0
    restore_wait: float = 10.0
    """How long a restore may take to reach the store before its lease is left to expire."""
    restore_settle: float = 5.0
    """How long after a restore people may still type into what it took away; that is kept as a version."""
    restores_at_once: int = 32
    """Restores of the last seconds that are looked after; one more is refused."""
    put_bases: int = 256
    """How many contents that people last read or wrote are remembered as bases for a later PUT."""
    put_base_bytes: int = 64 * MIB
    """Bytes of those contents together, in slim form; the oldest go."""

    sockets_per_person: int = 100
    """Open websockets of one person, of all kinds; one more handshake is answered with 429."""
    kernels_per_group: int = 40
    """Kernels of one group's at once; one more is answered with 429."""
    frames_per_second: float = 400.0
    """Messages that one person's sockets to documents may send on and on; what comes faster waits."""
    frames_at_once: int = 4_000
    """How many of them may come at once, as after a time offline."""
    frame_bytes_per_second: float = 8.0 * MIB
    frame_bytes_at_once: int = 256 * MIB
    join_failures_per_minute: float = 30.0
    """Links and passwords that are none, from one address; above it 429 until the minute is over."""
    addresses_remembered: int = 10_000
    """Addresses and people whose pace is kept in mind; above it the ones longest quiet are forgotten."""

    local_queue_bytes: int = 64 * MIB
    """Records that wait for this server's own disk; one more is refused while any waits."""
    local_open_journals: int = 128
    """Journals whose files are held open at once; one more and the one longest quiet is closed meanwhile."""
    local_timeout: float = 5.0
    """How long a record may take to reach this server's own disk before the disk counts as failing."""
    local_snapshot_timeout: float = 60.0
    """The same for a whole snapshot, and for reading what is kept."""
    local_close_timeout: float = 10.0
    """How long leaving waits for what is being written to this server's own disk."""
    commons_remembered: int = 2_048
    """Contents that a file and its document had in common earlier, by a short digest, on this server's own
    disk: so far back it is known that a ledger was rolled back."""
    start_patience: float = 30.0
    """How long a server that starts waits for one that is writing files alone (see ``StateDirLock``)."""
