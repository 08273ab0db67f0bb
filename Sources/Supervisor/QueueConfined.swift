/// A value that is handed to the actor by code which runs on the actor's own queue: it never leaves that queue, which
/// the compiler cannot see through a callback of Dispatch.
struct QueueConfined<Value>: @unchecked Sendable {
    /// The value; to be used on the queue alone.
    let value: Value

    init(_ value: Value) { self.value = value }
}
