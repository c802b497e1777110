package kernel

// SnapshotWithin is Snapshot with another limit.
var SnapshotWithin = snapshotWithin
