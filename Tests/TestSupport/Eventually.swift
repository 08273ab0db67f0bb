import Glibc
import Platform

/// Waits until a condition holds, looking again every few milliseconds; throws after `seconds`, a limit that only a
/// failing test reaches. For events that raise no notice of their own; prefer reading from a descriptor that does.
@discardableResult
package func eventually<Value>(
    _ what: String, within seconds: Double = 30, _ condition: () throws -> Value?
) throws -> Value {
    let deadline = monotonicNanoseconds() + Int64(seconds * 1e9)
    while true {
        if let value = try condition() { return value }
        if monotonicNanoseconds() > deadline { throw TestFailure("not within \(seconds) s: \(what)") }
        usleep(5000)
    }
}
