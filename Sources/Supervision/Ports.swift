import Manifest

/// Which ports are spoken for: by fronts, by fixed ports, by instances. An instance keeps its port over restarts, so
/// that its address stays; it changes only when a stranger holds it.
struct Ports: Sendable {
    private let range: PortRange
    private var taken: Set<UInt16> = []

    /// All ports of the range are free but those of the fronts and the fixed ones.
    init(of manifest: Manifest) {
        range = manifest.supd.portRange
        for service in manifest.services {
            for front in service.listen {
                if let port = front.address.port { taken.insert(port) }
            }
            for number in 1...max(1, service.replicas) {
                if let port = Ports.fixed(service, number: number) { taken.insert(port) }
            }
        }
    }

    /// The fixed port of an instance; nil: it has one of the range.
    static func fixed(_ service: Service, number: Int) -> UInt16? {
        guard let first = service.port else { return nil }
        return UInt16(exactly: Int(first) + number - 1)
    }

    /// How many ports the range has.
    var count: Int { max(0, Int(range.last) - Int(range.first) + 1) }

    /// How many of the range nobody has.
    var freeCount: Int { count - taken.count { range.contains($0) } }

    /// Takes a port, whether it is in the range or not.
    mutating func take(_ port: UInt16) { taken.insert(port) }

    /// Whether it is a port of the range that nobody has.
    func isFree(_ port: UInt16) -> Bool { range.contains(port) && !taken.contains(port) }

    /// Whether it is one of the range.
    func hasInRange(_ port: UInt16) -> Bool { range.contains(port) }

    /// Gives a port of the range back.
    mutating func giveBack(_ port: UInt16) { taken.remove(port) }

    /// The next free port of the range after this one, around its end; nil: all are taken.
    func free(after port: UInt16) -> UInt16? {
        guard count > 0 else { return nil }
        let start = range.contains(port) ? Int(port) - Int(range.first) + 1 : 0
        for offset in 0..<count {
            let candidate = UInt16(Int(range.first) + (start + offset) % count)
            if !taken.contains(candidate) { return candidate }
        }
        return nil
    }
}

/// Who has which port.
extension Application {
    /// Works out who has which port, from nothing: processes have theirs, instances keep theirs where nobody else runs
    /// on it, the others get the next free one of the range.
    mutating func assignPorts() {
        ports = Ports(of: manifest)
        for leftover in leftovers {
            // On the port of its own instance (an heir that was not taken on is) it takes it from nobody: the instance
            // starts nothing before it has ended.
            let own = layout.places[leftover.instance].map { instances[$0].process?.port ?? instances[$0].port }
            if own != leftover.port { ports.take(leftover.port) }
        }
        var open: [Int] = []
        for place in instances.indices {
            let current = instances[place].process?.port
            if let fixed = fixedPort(of: place) {
                instances[place].port = fixed
            } else if let current, ports.isFree(current) {
                instances[place].port = current
            } else {
                open.append(place)
            }
            // The process of an older manifest may be on a port that its instance would not get today.
            if let current { ports.take(current) }
        }
        // Whoever has one keeps it, also from those before it that have none.
        open.removeAll { place in
            guard ports.isFree(instances[place].port) else { return false }
            ports.take(instances[place].port)
            return true
        }
        for place in open {
            instances[place].port = ports.free(after: place > 0 ? instances[place - 1].port : 0) ?? 0
            ports.take(instances[place].port)
        }
    }

    /// The fixed port of an instance; nil: it has one of the range.
    func fixedPort(of place: Int) -> UInt16? {
        Ports.fixed(service(of: place), number: instances[place].id.number)
    }

    /// An instance has gone from one port of the range to another; 0 is none.
    mutating func exchangePort(_ old: UInt16, for new: UInt16) {
        if old != 0 { ports.giveBack(old) }
        if new != 0 { ports.take(new) }
    }
}

/// Fixed ports that go from one instance to another, as a manifest that is applied may have it.
extension Application {
    /// The fixed port that an instance starts on next; nil: one of the range.
    private func nextFixedPort(_ place: Int) -> UInt16? {
        let service =
            instances[place].edition == .leaving ? manifest.services[layout.services[place]] : service(of: place)
        return Ports.fixed(service, number: instances[place].id.number)
    }

    /// The fixed port of a process that is to end, or to be replaced by one on another port; its next owner waits for that,
    /// instead of finding the port in use.
    func portOnItsWayOut(_ place: Int) -> UInt16? {
        let instance = instances[place]
        guard let process = instance.process, !ports.hasInRange(process.port) else { return nil }
        if isOnItsWayOut(place) { return process.port }
        guard instance.edition == .former else { return nil }
        let next = Ports.fixed(manifest.services[layout.services[place]], number: instance.id.number)
        return next == process.port ? nil : process.port
    }

    private func isOnItsWayOut(_ place: Int) -> Bool {
        if case .stopping = instances[place].state { return true }
        return instances[place].goal == .down
    }

    /// The fixed port that an instance starts on next, and which other one still has it but is on its way out.
    func portHolder(_ place: Int) -> (port: UInt16, holder: InstanceID)? {
        // Of one that is still to be replaced only its own service waits: another one's rollout may be what that one's waits for.
        guard let port = nextFixedPort(place),
            let holder = instances.indices.first(where: { other in
                other != place && portOnItsWayOut(other) == port
                    && (isOnItsWayOut(other) || layout.services[other] == layout.services[place])
            })
        else { return nil }
        return (port, instances[holder].id)
    }

    /// Lets those go on that wait for ports that have become free; false: nobody's has.
    mutating func wakeForPorts(_ turn: inout Turn) -> Bool {
        // All are looked at when all have been taken up.
        guard !turn.freedPorts.isEmpty, !turn.isTakingUp else { return false }
        let freed = turn.freedPorts
        turn.freedPorts = []
        for place in instances.indices where instances[place].state == .waiting {
            if let port = nextFixedPort(place), freed.contains(port) { apply(.reconsidered, to: place, &turn) }
        }
        return true
    }
}
