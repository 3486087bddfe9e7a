/// What a packet tunnel provider does for the engine.
public protocol TunnelHost: Sendable {
    /// Sets the tunnel up and gives its device: a descriptor that is the engine's from then on.
    func establish(_ plan: TunnelPlan) async throws -> Int32

    /// Ends the tunnel; the system may start it again.
    func cancel(_ reason: String) async
}
