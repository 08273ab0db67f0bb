import Dispatch
import Events
import Logs
import Platform
import Supervision

/// Lines that are dropped become events. No timer runs while none are.
extension SupervisorRole {
    /// What is dropped from now on is told, and what the supervisor before had not told.
    func watchLogDrops() {
        guard let pump else { return }
        logDrops = LogDropBook(counts)
        pump.losses.onNews { [weak self] in
            guard let self else { return }
            self.queue.async {
                self.assumeIsolated { $0.lookAtLogDrops(at: monotonicNanoseconds() + LogDropBook.gathering) }
            }
        }
        if !pump.losses.all().isEmpty { lookAtLogDrops(at: monotonicNanoseconds() + LogDropBook.gathering) }
    }

    private func lookAtLogDrops(at time: Int64) {
        guard logDrops.armed.map({ time < $0 }) ?? true else { return }
        logDrops.armed = time
        queue.asyncAfter(deadline: .now() + .nanoseconds(Int(max(0, time - monotonicNanoseconds())))) { [weak self] in
            self?.assumeIsolated { role in
                // An earlier look has taken its place.
                guard role.logDrops.armed == time else { return }
                role.logDrops.armed = nil
                role.tellLogDrops()
            }
        }
    }

    private func tellLogDrops() {
        guard let pump else { return }
        let (due, next) = logDrops.take(pump.losses.all(), at: monotonicNanoseconds())
        for telling in due {
            happened(.logDropped(telling.drop), service: telling.service, instance: telling.instance)
        }
        if !due.isEmpty {
            let services = Set(due.map(\.service))
            let told = logDrops
            // Killed before that, the next supervisor tells of it again, which is better than never.
            whenEventsAreKept { told.keep(services, in: $0.counts) }
        }
        if let next { lookAtLogDrops(at: next) }
    }
}
