import Links
import Platform

/// Stopping and ending everything.
extension KeeperCore {
    mutating func signalled(_ number: Int32, at now: Int64) {
        guard number == SignalNumber.terminate || number == SignalNumber.interrupt else {
            let name = Signals.name(of: number).map { $0.hasPrefix("SIG") ? $0 : "SIG\($0)" } ?? "signal \(number)"
            // A terminal that is closed sends it, too: whoever closed it has not asked for anything.
            if number == SignalNumber.hangup, reloadsOnHangup, case .running = phase {
                owesReload = supervisor.process?.isGreeted != true
                return tell(.reload)
            }
            let more =
                reloadsOnHangup ? "" : ": supd was started on a terminal; \"supctl apply\" reads the manifest anew"
            act(.note("\(name) ignored\(number == SignalNumber.hangup ? more : "")"))
            return
        }
        switch phase {
        case .running:
            cancelUpgrade("supd was told to stop")
            phase = .stopping(signal: number, crashes: 0)
            tell(.shutdown(signal: number))
        case .stopping, .abandoned:
            act(.warn("asked to stop once more: everything is killed"))
            end(code: 1, farewell: false, at: now)
        case .ending(let code, _, _): act(.exit(code == 0 ? 1 : code))
        }
    }

    /// No supervisor stays up to stop the services in order.
    mutating func abandon(at now: Int64) {
        act(.warn("the supervisor ends again and again while stopping: the keeper stops the services itself"))
        phase = .abandoned(killAt: now + Self.abandonedTime)
        act(.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=\((Self.abandonedTime + Self.endingTime) / 1000)"))
        retireRoles()
        kill(.supervisor, wanted: true)
        signalEverything(SignalNumber.terminate)
    }

    /// Ends whatever is left, then the keeper. `farewell`: the supervisor may end by itself.
    mutating func end(code: Int32, farewell: Bool, at now: Int64) {
        if case .ending = phase { return }
        act(.notify("STOPPING=1"))
        cancelUpgrade("supd is stopping")
        phase = .ending(
            code: code, farewellUntil: farewell ? now + Self.farewellTime : nil, until: now + Self.endingTime)
        retireRoles()
        if farewell {
            supervisor.condemn(wanted: true)
            act(.closeLink(.supervisor))
        } else {
            kill(.supervisor, wanted: true)
        }
        signalEverything(SignalNumber.kill)
    }

    private mutating func retireRoles() {
        supervisor.retire()
        balancer.retire()
        kill(.balancer, wanted: true)
        web.retire()
        kill(.web, wanted: true)
        for former in formerBalancers { act(.killBalancer(pid: former.pid)) }
    }

    private mutating func signalEverything(_ number: Int32) {
        for id in children.keys.sorted() { act(.signal(id, number: number, group: true)) }
        for pid in orphans.keys.sorted() { act(.signalOrphan(pid: pid, number: number)) }
        act(.findOrphans)
    }

    mutating func endingTimePassed(at now: Int64) {
        switch phase {
        case .running, .stopping: break
        case .abandoned(let killAt):
            if killAt <= now { end(code: 1, farewell: false, at: now) }
        case .ending(let code, let farewell, let until):
            if let farewell, farewell <= now {
                phase = .ending(code: code, farewellUntil: nil, until: until)
                kill(.supervisor, wanted: true)
            }
            if until <= now {
                let pids = children.values.filter { !$0.hasExited }.map(\.pid) + orphans.keys
                let list = pids.sorted().prefix(20).map(String.init).joined(separator: ", ")
                act(.warn("some processes are still there after SIGKILL: \(list)"))
                act(.exit(code))
            }
        }
    }

    mutating func finishIfNothingLives(at now: Int64) {
        guard !phase.replacesRoles, orphans.isEmpty, !children.values.contains(where: { !$0.hasExited }) else { return }
        if case .abandoned = phase { end(code: 1, farewell: false, at: now) }
        guard case .ending(let code, _, _) = phase else { return }
        if supervisor.phase == .unwanted, balancer.phase == .unwanted, web.phase == .unwanted, formerBalancers.isEmpty {
            act(.exit(code))
        }
    }
}
