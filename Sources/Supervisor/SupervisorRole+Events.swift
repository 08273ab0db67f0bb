import ControlAPI
import Dispatch
import Events
import Links
import Platform
import Supervision

/// What happens is noted, kept, and only then told: see `EventFile` for the disk, `EventBook` for those who follow, and
/// Supervision/Telling.swift for what the core has to tell.
extension SupervisorRole {
    /// Reads what those before have kept, and answers what that comes to; called once, before anything happens.
    func openEvents(_ inventory: Inventory, _ welcome: Inventory.Welcome) -> EventLedger {
        var counter: MemoryFile?
        do throws(SystemError) {
            if let held = inventory.held[Held.eventNumber] {
                counter = try MemoryFile(received: held)
            } else {
                let file = try MemoryFile(name: Held.eventNumber)
                keeper?.send(.hold(name: Held.eventNumber), [file.descriptor])
                counter = file
            }
        } catch {
            log.write(.error, "cannot have the number of the last event held: \(error)")
        }
        let beginning = EventStore.open(stateDirectory: configuration.stateDirectory, counter: counter) { [log] in
            log.write($0, $1)
        }
        events.store = beginning.store
        events.kept = beginning.last
        guard beginning.isContinued else {
            happened(.daemon(.init(step: .started, version: version)))
            keepEvents()
            return EventLedger()
        }
        events.balancer = beginning.ledger.balancer
        hooks.watch = HookWatch(after: beginning.ledger)
        // Those that were under way with the one before are ended, and not run again.
        for name in inventory.held.keys where name.hasPrefix(Self.heldHookPrefix) { keeper?.send(.drop(name: name)) }
        happened(.role(.init(role: "supervisor", step: "started", pid: ownProcessID(), reason: words(welcome))))
        keepEvents()
        return beginning.ledger
    }

    private func words(_ welcome: Inventory.Welcome) -> String {
        welcome.crashes > 0
            ? "the one before has ended by a crash; \(Amount.text(welcome.crashes, "crash", "crashes")) within 30 s"
            : "the one before has ended"
    }

    // MARK: In

    /// Notes an event; it is kept at the end of the turn.
    func happened(_ kind: EventKind, service: String? = nil, instance: InstanceID? = nil) {
        events.add(
            EventRecord(
                number: 0, at: WallClock.text(nanoseconds: wallClockNanoseconds()),
                service: service ?? instance?.service,
                instance: instance?.description, kind: kind))
    }

    /// Hands what was noted to the store, and tells those who follow once it is kept.
    func keepEvents() {
        guard let store = events.store, !events.pending.isEmpty else { return }
        let batch = events.takePending(at: WallClock.text(nanoseconds: wallClockNanoseconds()))
        store.append(batch) { [role = self, count = batch.count] last, numbered in
            role.queue.async {
                role.assumeIsolated { role in
                    role.events.waiting -= count
                    role.events.kept = last
                    for id in role.events.followers.keys.sorted() { role.feed(id) }
                    role.lookForOccasions(numbered)
                }
            }
        }
    }

    /// Does something once all that was noted is kept, or cannot be.
    func whenEventsAreKept(_ action: @escaping @Sendable (isolated SupervisorRole) -> Void) {
        keepEvents()
        guard let store = events.store else { return action(self) }
        store.whenKept { [role = self] in role.queue.async { role.assumeIsolated(action) } }
    }

    /// What a user asks for; of many names the first.
    func noteCommand(_ verb: String, _ names: [String], by peer: PeerCredentials) {
        happened(
            .command(
                .init(
                    verb: verb, names: names.prefix(20).map { String($0.prefix(100)) }, by: "\(peer)",
                    userID: peer.userID)))
        keepEvents()
    }

    /// A balancer has begun or ended, unless that was told before.
    func noteBalancer(started pid: Int32) {
        guard pid != events.balancer else { return }
        events.balancer = pid
        happened(.role(.init(role: "balancer", step: "started", pid: pid)))
        keepEvents()
    }

    /// A balancer has ended.
    func noteBalancer(ended exit: ChildExit) {
        events.balancer = nil
        happened(.role(.init(role: "balancer", step: "ended", reason: ExitStatus(exit).words)))
        keepEvents()
    }

    /// A step of an apply or a rollback.
    func noteApply(_ step: EventKind.ApplyStep.Step, of wish: ApplyRequest, reason: String?) {
        happened(
            .apply(
                .init(
                    step: step, manifest: wish.name, by: wish.by, userID: wish.userID,
                    reason: reason.map { EventBook.bounded($0) })))
        keepEvents()
    }

    /// Limits were changed.
    func noteLimits(_ settings: [LimitChange.Setting], by who: String) {
        for setting in settings {
            happened(
                .limit(
                    .init(
                        limit: setting.name, old: LimitText.pair(setting.old), new: LimitText.pair(setting.new), by: who
                    )),
                instance: setting.instance)
        }
        keepEvents()
    }

    // MARK: Out

    /// Answers with the events after a number; with those that come, for as long as the client stays, if it follows.
    func streamEvents(after number: UInt64?, follows: Bool, _ filter: EventFilter?, _ responder: ControlResponder) {
        let follower = EventBook.Follower(responder: responder, after: number ?? 0, filter: filter, follows: follows)
        guard let id = events.addFollower(follower) else {
            return responder.fail(
                503, code: "busy", "\(EventBook.mostFollowers) clients read events already; try again later")
        }
        responder.begin()
        responder.onCancel { [weak self] in self?.assumeIsolated { $0.events.followers[id] = nil } }
        responder.onRoom { [weak self] in self?.assumeIsolated { $0.feed(id) } }
        feed(id)
    }

    /// Gives a follower more, if it has taken all it was given.
    func feed(_ id: UInt64) {
        guard let follower = events.followers[id], let store = events.store, !follower.isReading,
            follower.responder.hasRoom
        else { return }
        if follower.after == events.kept {
            if !follower.follows { events.followers.removeValue(forKey: id)?.responder.finish() }
            return
        }
        events.followers[id]?.isReading = true
        store.read(after: follower.after, limit: EventBook.chunk, follower.filter) { [role = self] text, last in
            role.queue.async {
                role.assumeIsolated { role in
                    role.events.followers[id]?.isReading = false
                    role.events.followers[id]?.after = last
                    guard let follower = role.events.followers[id] else { return }
                    if !text.isEmpty { follower.responder.send(lines: text) }
                    if !follower.follows, last >= role.events.kept {
                        role.events.followers.removeValue(forKey: id)?.responder.finish()
                    } else {
                        role.feed(id)
                    }
                }
            }
        }
    }
}

extension ExitStatus {
    /// In words: `exited with code 1`.
    var words: String {
        switch self {
        case .code(let code): "exited with code \(code)"
        case .signal(let number, _): "killed by \(Signals.name(of: number) ?? "signal \(number)")"
        }
    }
}
