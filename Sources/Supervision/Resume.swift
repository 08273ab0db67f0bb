import Manifest

/// What a new supervisor makes of the old one's snapshot and the keeper's children. The children are the truth: the
/// snapshot may be older than what the old supervisor did last, or not be there at all.
extension Application {
    /// Called once, in place of `started`, when a new supervisor has taken over from one that ended: `children` are all
    /// that the keeper holds, also those that have ended (their `exited` comes afterwards). A generation that the
    /// snapshot knows and the keeper does not has ended unseen. `highestGeneration` was given out before.
    package mutating func resume(
        children: [SurvivingChild], highestGeneration: Generation, at now: Instant
    ) -> [Effect] {
        let highest = children.map(\.generation).reduce(highestGeneration, max)
        nextGeneration = max(nextGeneration, Generation(highest.number &+ 1))
        var turn = Turn(now: now, jitter: 0, nextGeneration: nextGeneration)
        turn.routesChanged = true
        turn.isResumption = true
        turn.tellOfAll()

        // Whoever waited for a command is gone. A restart of many is carried on; goals are kept by the instances.
        operations.removeAll { $0.verb != .restart }
        for index in operations.indices { operations[index].command = nil }
        for index in deployments.indices {
            deployments[index].command = nil
            for position in deployments[index].rollouts.indices { deployments[index].rollouts[position].recall = nil }
        }
        // Whether the keeper has heard it nobody knows.
        hasAnnouncedDown = false

        let known = Dictionary(children.map { ($0.generation, $0) }, uniquingKeysWith: { first, _ in first })
        leftovers.removeAll { known[$0.generation] == nil }
        // A start that reached nobody may have had a number that was then given to another one.
        for place in instances.indices {
            guard let generation = instances[place].process?.generation, let child = known[generation] else { continue }
            if child.instance != instances[place].id { instances[place].state = .down }
        }
        adoptStrangers(known)
        assignPorts()
        rebuild()

        for leftover in leftovers.indices { leftovers[leftover] = end(leftovers[leftover], &turn) }
        // Dependencies first, and settled before their dependants: nothing may start because of what has vanished. And
        // what waits for several others goes on only when all of them have been looked at.
        turn.isTakingUp = true
        let firstNew = nextGeneration
        for service in dependencies.order {
            for place in layout.instances[service] {
                // What was started a moment ago, because a dependency is there, is no old process.
                guard let process = instances[place].process, process.generation < firstNew else { continue }
                resume(place, process, known[process.generation], &turn)
                // One that is adopted and not wanted counts for nobody.
                apply(.reconsidered, to: place, &turn)
                leaveForeignPort(place, &turn)
            }
            settle(&turn)
        }
        turn.isTakingUp = false
        reconsiderAll(&turn)
        turn.touched.append(contentsOf: operations.flatMap(\.open))
        if !deployments.isEmpty || !leaving.isEmpty {
            needsReshaping = true
            turn.touched.append(contentsOf: instances.indices)
        }
        return finish(&turn)
    }

    /// Children that neither an instance nor the list of leftovers knows: the newest of an instance that has no other
    /// is taken on as its process; the rest are ended.
    private mutating func adoptStrangers(_ known: [Generation: SurvivingChild]) {
        let listed = Set(instances.compactMap { $0.process?.generation } + leftovers.map(\.generation))
        let strangers = known.values.filter { !listed.contains($0.generation) }
        for child in strangers.sorted(by: { $0.generation > $1.generation }) {
            if let place = layout.places[child.instance], !hasProcess(place, known) {
                if let old = instances[place].process, known[old.generation] != nil {
                    // It ended and was replaced after the snapshot; its exit is still to come.
                    leftovers.append(
                        Leftover(
                            generation: old.generation, instance: child.instance, port: old.port,
                            check: Instance.Check(at: .never)))
                }
                let process = Instance.Process(
                    generation: child.generation, port: child.port, pid: nil, beganAt: Instant(nanoseconds: 0),
                    replaces: false)
                instances[place].state = .starting(process, until: .never, probe: nil)
                instances[place].latest = child.generation
                // The snapshot saw its predecessor go: this one was started as what the manifest says.
                if instances[place].edition == .leaving { instances[place].edition = .current }
            } else {
                leftovers.append(
                    Leftover(
                        generation: child.generation, instance: child.instance, port: child.port,
                        check: Instance.Check(at: .never)))
            }
        }
    }

    private func hasProcess(_ place: Int, _ known: [Generation: SurvivingChild]) -> Bool {
        instances[place].process.flatMap { known[$0.generation] }.map { !$0.hasExited } ?? false
    }

    /// A process that was started on another fixed port than its instance's, in a rollout of which the snapshot is lost, has
    /// perhaps that of another instance: it is replaced.
    private mutating func leaveForeignPort(_ place: Int, _ turn: inout Turn) {
        guard let fixed = fixedPort(of: place), let process = instances[place].process, process.port != fixed,
            instances[place].edition == .current, instances[place].goal == .up, service(of: place).kind == .service
        else { return }
        switch instances[place].state {
        case .starting, .running: apply(.restartAsked(leavesNone: true), to: place, &turn)
        case .down, .waiting, .stopping, .backoff, .failed, .completed: break
        }
    }

    /// Takes up one instance where it is, with what the keeper knows of its process.
    private mutating func resume(
        _ place: Int, _ process: Instance.Process, _ child: SurvivingChild?, _ turn: inout Turn
    ) {
        guard let child else { return apply(.vanished, to: place, &turn) }
        let settings = service(of: place)
        switch instances[place].state {
        case .starting(var process, let until, _):
            guard process.pid == nil else {
                if child.saidReady { return apply(.probed(passed: true, detail: ""), to: place, &turn) }
                return turn.effects.append(.beginProbing(process.generation, instances[place].id, port: process.port))
            }
            // Asked for, or adopted. If it is not there yet, the keeper's answer is still to come.
            if until == .never {
                process.beganAt = turn.now
                instances[place].state = .starting(process, until: turn.now + settings.readyTimeout, probe: nil)
            }
            guard let pid = child.pid else { return }
            apply(.spawned(pid: pid), to: place, &turn)
            guard child.saidReady else { return }
            apply(.probed(passed: true, detail: ""), to: place, &turn)
            turn.effects.append(.endProbing(process.generation))
        case .stopping(let process, let stop):
            if process.pid == nil, let pid = child.pid { return apply(.spawned(pid: pid), to: place, &turn) }
            let isKilling = if case .killing = stop.phase { true } else { false }
            if case .draining = stop.phase { return }
            if process.pid != nil, !stop.leaderEnded || isKilling {
                turn.effects.append(.signal(process.generation, isKilling ? "KILL" : settings.stop.signal))
            }
            if stop.leaderEnded || isKilling { turn.effects.append(.checkGroup(process.generation)) }
        case .running:
            // What it has said meanwhile is still to be read.
            instances[place].said?.watchdog?.heardAt = turn.now
            probeHealth(of: place, &turn)
        case .down, .waiting, .backoff, .failed, .completed:
            break
        }
    }
}
