"""Media by WebSocket, for devices without WebRTC."""
