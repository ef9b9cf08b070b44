//! A message's text on its way in: in memory while it is small, in a temporary file when it is not.
