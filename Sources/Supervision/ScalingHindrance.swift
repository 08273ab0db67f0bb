package import Events
import Manifest

// A service that would scale itself, and has no room for it.
//
// A step is done as far as there are ports and instances left for it. If not even one instance more can be had, that is told
// once, by an event with the reason, and again when the reason is another one. The shell asks anew with each look at the load. It is
// over with the next step, with another number or rule, a stop, or once the load asks for no more; that is an event, too.
extension Application {
    /// What keeps a service from having as many instances as its load asks for; nil: nothing does.
    package func scalingHindrance(of service: String) -> EventKind.ScaleHindrance? {
        told.scaleHindrances?[service]
    }

    /// As much of a step of a service as can be done, and what keeps it from being all of it. Without any instance more to be had,
    /// the step is none.
    func feasible(_ step: EventKind.ScaleStep, of name: String) -> (step: EventKind.ScaleStep, hindrance: String?) {
        var staying = manifest
        staying.services.removeAll { leaving.contains($0.name) }
        guard let hindrance = staying.hindrance(toScaling: name, to: step.to), step.to > step.from else {
            return (step, nil)
        }
        // What hinders some hinders more: the boundary is looked for between the two.
        var (least, most) = (step.from, step.to - 1)
        while least < most {
            let middle = least + (most - least + 1) / 2
            if staying.hindrance(toScaling: name, to: middle) == nil { least = middle } else { most = middle - 1 }
        }
        var part = step
        part.to = least
        guard least == step.from else {
            part.reason = "\(step.reason); \(step.to) are not possible: \(hindrance)"
            return (part, hindrance)
        }
        // Told of the very next one, the reason stays the same while the load varies.
        return (part, staying.hindrance(toScaling: name, to: step.from + 1) ?? hindrance)
    }

    /// A service cannot have more instances, although its load asks for them.
    mutating func noteScalingHindrance(
        _ reason: String, of name: String, _ step: EventKind.ScaleStep, _ turn: inout Turn
    ) {
        guard told.scaleHindrances?[name]?.reason != reason else { return }
        let hindrance = EventKind.ScaleHindrance(from: step.from, to: step.to, reason: reason, load: step.reason)
        tellScaling(.scaleHindered(hindrance), of: name, &turn)
        guard let first = place(ofService: name).flatMap({ layout.instances[$0].first }) else { return }
        turn.report(
            instances[first].id, .warning,
            "\(name) cannot scale from \(step.from) to \(step.to): \(reason); its load: \(step.reason)")
    }

    /// The load of a service asks for no other number of instances.
    mutating func scalingSettled(_ service: String, _ turn: inout Turn) {
        guard let hindrance = told.scaleHindrances?[service] else { return }
        tellScalingRelief(hindrance, of: service, &turn)
    }

    /// What hindered services that have another number or rule by now is over.
    mutating func tellScalingRelief(_ turn: inout Turn) {
        guard let hindrances = told.scaleHindrances else { return }
        for (name, hindrance) in hindrances.sorted(by: { $0.key < $1.key }) {
            if let place = place(ofService: name), !leaving.contains(name), let rule = manifest.services[place].scaling,
                manifest.services[place].replicas == hindrance.from, hindrance.from < rule.max,
                layout.instances[place].contains(where: { instances[$0].goal == .up })
            {
                continue
            }
            tellScalingRelief(hindrance, of: name, &turn)
        }
    }

    private mutating func tellScalingRelief(
        _ hindrance: EventKind.ScaleHindrance, of service: String, _ turn: inout Turn
    ) {
        tellScaling(.scaleHindered(.init(from: hindrance.from, to: hindrance.to)), of: service, &turn)
    }

    /// Something about how a service scales itself is kept as an event.
    mutating func tellScaling(_ kind: EventKind, of service: String, _ turn: inout Turn) {
        told.take(kind, service: service, instance: nil)
        turn.effects.append(.happened(kind, service: service, instance: nil))
    }
}
