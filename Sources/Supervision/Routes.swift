import Manifest

extension Application {
    /// The routes of one service with fronts, for the balancer's table.
    package struct Route: Sendable, Hashable {
        /// One generation that takes connections, or has some.
        package struct Endpoint: Sendable, Hashable {
            /// The generation.
            package var generation: Generation
            /// The instance.
            package var instance: InstanceID
            /// The port on 127.0.0.1.
            package var port: UInt16
            /// Whether it takes new connections.
            package var state: State

            /// Whether an endpoint takes new connections.
            package enum State: Sendable, Hashable {
                /// It does.
                case active
                /// It does not, and those open have a limited time: it is to stop.
                case draining
                /// It does not, because a user has drained it, or another set has taken over; those open go on.
                case parked
            }
        }

        /// The service.
        package var service: String
        /// Its endpoints, in the order of their instance numbers.
        package var endpoints: [Endpoint]
        /// Whether connections wait while no endpoint is active (else they are reset: nothing will come).
        package var holds: Bool
        /// During a replacement in place: connections that wait do not expire before this instant;
        /// Int64.max nanoseconds while the new process has not begun.
        package var holdUntil: Instant?
        /// It sleeps until a connection comes, of which the balancer is to tell.
        package var isAsleep = false
    }
}

extension Application {
    /// What the balancer should do, for every service with fronts.
    package var routes: [Route] {
        manifest.services.indices.filter { manifest.services[$0].isBalanced }.map { service in
            let endpoints = layout.instances[service].compactMap { place -> Route.Endpoint? in
                guard let endpoint = instances[place].endpoint, let state = routeState(endpoint.state, of: place) else {
                    return nil
                }
                return Route.Endpoint(
                    generation: endpoint.process.generation, instance: instances[place].id, port: endpoint.process.port,
                    state: state)
            }
            return Route(
                service: manifest.services[service].name, endpoints: endpoints, holds: facts[service].holds,
                holdUntil: facts[service].holdUntil, isAsleep: facts[service].isAsleep)
        }
    }
}
