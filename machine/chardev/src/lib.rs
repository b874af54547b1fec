//! Where a guest's serial lines lead: stdio, pty, file, socket.
