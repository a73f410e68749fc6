"""What every package stands on: contracts, errors, files, weights. Imports none of the others."""
