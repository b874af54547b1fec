//! What each guest instruction set gives the translator, and the loop that translates a block.
