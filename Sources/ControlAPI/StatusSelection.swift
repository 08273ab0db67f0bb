extension StatusReport {
    /// Only the services with one of these instances (ids like `api/2`), and of them only these instances; and services
    /// without instances that are meant. What is said of the service as a whole stays.
    package func selecting(_ choice: Selector.Choice) -> StatusReport {
        let wanted = Set(choice.instances)
        var report = self
        report.services = services.compactMap { service in
            var service = service
            service.instances.removeAll { !wanted.contains($0.id) }
            let isWanted = !service.instances.isEmpty || choice.servicesWithout.contains(service.name)
            return isWanted ? service : nil
        }
        return report
    }
}

extension ServiceStatus {
    /// How many instances are ready that the manifest does not ask for: they stand beside the others for a rollout, or are on their
    /// way out.
    package var readyBeside: Int { instances.count { $0.ready && $0.number ?? 0 > replicas } }

    /// Whether what is wanted of the instances shown is so: they are to be down, or they are up, or have completed.
    package var isAsWanted: Bool {
        if goal == "down" { return true }
        if instances.count >= replicas { return ["running", "completed", "idle"].contains(state) }
        // One that is down was stopped on purpose: while it is wanted it waits, starts or backs off.
        return instances.allSatisfy { $0.ready || ["completed", "down", "idle"].contains($0.state) }
    }
}

extension InstanceStatus {
    /// The number in its id; nil: it has none.
    fileprivate var number: Int? { id.split(separator: "/").dropFirst().first.flatMap { Int($0) } }
}
